"""Features of structures, from Python and from the command line."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from jax_models import ConfigError, StructureError
from jaxff import describe


@pytest.fixture(scope="module")
def structures():
    from ase.build import bulk, molecule

    rattled = bulk("SiC", crystalstructure="zincblende", a=4.36, cubic=True)
    rattled.rattle(0.1, seed=3)
    return [rattled, bulk("Si"), molecule("CH4")]


def run(*arguments):
    # As `jaxff` does it, whether or not the command is installed here.
    command = [sys.executable, "-m", "jaxff.cli.app", "describe", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}, check=False)


def test_equals_dscribe_with_its_defaults(structures):
    dscribe = pytest.importorskip("dscribe.descriptors", reason="DScribe is not installed")
    features = describe(structures, "soap", r_cut=4.0, n_max=5, l_max=3)
    expected = []
    for atoms in structures:
        soap = dscribe.SOAP(species=["H", "C", "Si"], r_cut=4.0, n_max=5, l_max=3, periodic=bool(atoms.pbc.any()))
        expected.append(soap.create(atoms))
    expected = np.concatenate(expected)
    np.testing.assert_allclose(features, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_a_structure_gives_the_same_alone_and_among_others(structures):
    together = describe(structures, "chebyshev", r_cut=4.0, radial_n=4, angular_n=4)
    alone = describe(structures[2], "chebyshev", r_cut=4.0, radial_n=4, angular_n=4, elements=("H", "C", "Si"))
    np.testing.assert_allclose(together[-5:], alone, atol=1e-12)


def test_command_line_gives_the_same_numbers(tmp_path, structures):
    from ase.io import write

    for number, atoms in enumerate(structures):
        write(tmp_path / f"{number}.xyz", atoms)
    files = [tmp_path / f"{number}.xyz" for number in range(3)]
    result = run(
        *files, "--descriptor", "gmp", "--set", "cutoff=4", "--set", "orders=[0,1]", "--out", tmp_path / "f.npz"
    )
    assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "f.npz") as data:
        assert data["structure"].tolist() == [0] * 8 + [1] * 2 + [2] * 5
        assert data["elements"].tolist() == ["H", "C", "Si"]
        assert data["symbols"][-5:].tolist() == ["C", "H", "H", "H", "H"]
        expected = describe(structures, "gmp", cutoff=4.0, orders=(0, 1))
        np.testing.assert_allclose(data["features"], expected, atol=1e-6)  # positions in the file have 8 digits


def test_a_global_descriptor_has_one_row_a_structure(structures):
    settings = {
        "geometry": {"function": "distance"},
        "grid": {"min": 1.0, "max": 4.0, "sigma": 0.1, "n": 31},
        "weighting": {"function": "exp", "scale": 1.0, "threshold": 1e-2},
    }
    features = describe([structures[0], structures[0] * (2, 1, 1)], "mbtr_global", **settings)
    assert features.shape == (2, 3 * 31)
    np.testing.assert_allclose(features[1], 2 * features[0], atol=1e-9)


def test_bad_settings(structures):
    for settings, message in (
        ({"l_max": -1}, "l_max is -1.*between 0 and"),
        ({"r_cut": 0}, "r_cut is 0; it must be a positive"),
        ({"cutoff": float("nan")}, "cutoff is nan"),
        ({"r_cut": 4.0, "cutoff": 4.0}, "not both"),
        ({"elements": ("Si", "Xx")}, "not a chemical element: Xx"),
        ({"n_maximum": 3}, "soap has no setting n_maximum; it has .*n_max"),
    ):
        with pytest.raises(ConfigError, match=message):
            describe(structures, "soap", **settings)
    with pytest.raises(ConfigError, match="unknown descriptor 'nonsense'; choose from ace"):
        describe(structures, "nonsense")
    with pytest.raises(StructureError, match="hold C, H, which is not among"):
        describe(structures, "soap", elements=["Si"])
    with pytest.raises(StructureError, match="no structures"):
        describe([])


def test_command_line_errors_are_one_line(tmp_path):
    result = run(tmp_path / "absent.xyz", "--out", tmp_path / "f.npz")
    assert result.returncode == 1 and "there is no file" in result.stderr and "Traceback" not in result.stderr
    result = run(tmp_path / "absent.xyz", "--out", tmp_path / "f.txt")
    assert result.returncode == 1 and ".npz" in result.stderr
    assert not list(tmp_path.iterdir())
