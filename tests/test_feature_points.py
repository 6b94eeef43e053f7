"""Features from points that are no atoms: middles of bonds, grids, and any that a file lists."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write
from typer.testing import CliRunner

from jax_models import ConfigError, StructureError
from jaxff import describe
from jaxff.cli.app import app
from jaxff.feature_points import environments_at, named_points, points_in

SOAP = {"r_cut": 4.0, "n_max": 4, "l_max": 3}


def salt():
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def test_soap_of_any_points_is_dscribes():
    soap = pytest.importorskip("dscribe.descriptors").SOAP
    points = np.random.default_rng(0).uniform(0, 5.64, size=(5, 3))
    theirs = soap(species=["Na", "Cl"], periodic=True, **SOAP).create(salt(), centers=points)
    ours = describe([salt()], "soap", elements=["Na", "Cl"], points=[points], **SOAP)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-8 * np.abs(theirs).max())


@pytest.mark.parametrize("descriptor", ["gmp", "soap", "acsf", "ace", "chebyshev", "mbtr", "power_spectrum"])
def test_a_point_sees_what_is_there_wherever_the_cell_begins(descriptor):
    atoms, points = salt(), np.array([[0.3, 1.2, 2.9], [5.5, 5.6, 0.1]])
    here = describe([atoms], descriptor, cutoff=4.0, points=[points])
    assert np.isfinite(here).all() and np.ptp(here, axis=0).max() > 0
    # Other points beside them, another cell of the same crystal, and a rotation of everything change nothing.
    more = describe(
        [atoms * (2, 1, 1)], descriptor, cutoff=4.0, points=[np.concatenate([points + atoms.cell[0], [[0.3, 0, 1]]])]
    )
    np.testing.assert_allclose(more[:2], here, rtol=1e-7, atol=1e-9 * np.abs(here).max())
    turned = atoms.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    rotation = np.linalg.solve(atoms.cell.array, turned.cell.array)
    np.testing.assert_allclose(
        describe([turned], descriptor, cutoff=4.0, points=[points @ rotation]), here, rtol=1e-6,
        atol=1e-8 * np.abs(here).max(),
    )  # fmt: skip


def test_gmp_on_an_atom_is_the_atoms():
    atoms = salt()
    here = describe([atoms], "gmp", cutoff=4.0, points=[atoms.positions])
    # The atom in the middle is exact in one, and one of the series' neighbours in the other.
    np.testing.assert_allclose(here, describe([atoms], "gmp", cutoff=4.0), rtol=0, atol=1e-4)


def test_bonds_are_counted_once():
    assert len(named_points(bulk("Si", cubic=True), "bonds", 5.0, bond_cutoff=2.5)) == 16
    # One atom, and half of its twelve neighbours are images of the other half.
    middles = named_points(bulk("Cu"), "bonds", 5.0, bond_cutoff=2.7)
    assert len(middles) == 6
    seen = environments_at(bulk("Cu"), middles, ("Cu",), 3.0)
    nearest = np.sort(np.linalg.norm(np.where(seen.mask[..., None], seen.vectors, 99), axis=2), axis=1)
    np.testing.assert_allclose(nearest[:, :2], 3.61 / 8**0.5, atol=1e-9)
    assert (seen.species == -1).all()
    water = molecule("H2O")
    assert len(named_points(water, "bonds", 5.0, bond_cutoff=1.2)) == 2
    assert len(named_points(bulk("Cu"), "grid", 5.0, spacing=1.0)) == 27


def run(*words):
    return CliRunner().invoke(app, ["describe", *map(str, words)])


def test_the_command(tmp_path):
    write(tmp_path / "salt.xyz", [salt(), salt()])
    np.save(tmp_path / "points.npy", np.eye(3))
    np.savetxt(tmp_path / "points.csv", np.eye(3), delimiter=",")
    given = (tmp_path / "salt.xyz", "--out", tmp_path / "f.npz", "--descriptor", "gmp", "--set", "cutoff=4")
    found = {}
    for points in ("bonds", "grid", tmp_path / "points.npy", tmp_path / "points.csv"):
        extra = {"bonds": ("--set", "bond_cutoff=3.2"), "grid": ("--set", "spacing=1.5")}.get(points, ())
        outcome = run(*given, "--points", points, *extra)
        assert outcome.exit_code == 0, (outcome.output, outcome.exception)
        with np.load(tmp_path / "f.npz") as file:
            found[points] = {name: file[name] for name in file.files}
    for data in found.values():
        assert len(data["features"]) == len(data["structure"]) == len(data["points"]) and "symbols" not in data
        assert {"order", "sigma"} == set(json.loads(data["names"][0])) and len(data["names"]) == data["features"].shape[
            1
        ]
    assert len(found["bonds"]["points"]) == 2 * 24 and len(found["grid"]["points"]) == 2 * 64
    np.testing.assert_array_equal(
        found[tmp_path / "points.npy"]["features"], found[tmp_path / "points.csv"]["features"]
    )


def test_bad_points_are_named(tmp_path):
    write(tmp_path / "salt.xyz", salt())
    (tmp_path / "two.txt").write_text("0 0\n1 1\n")
    (tmp_path / "words.txt").write_text("a b c\n")
    np.save(tmp_path / "nan.npy", np.full((2, 3), np.nan))
    given = (tmp_path / "salt.xyz", "--out", tmp_path / "f.npz")
    for name, text in (("two.txt", "three columns"), ("words.txt", "cannot read"), ("nan.npy", "not finite")):
        with pytest.raises(ConfigError, match=text):
            points_in(tmp_path / name, 1)
    assert "bonds, grid, or a file" in str(run(*given, "--points", "bond").exception)
    assert "bond_cutoff is -1" in str(run(*given, "--points", "bonds", "--set", "bond_cutoff=-1").exception)
    with pytest.raises(ConfigError, match="points for 2 structures, and 1"):
        describe([salt()], "soap", points=[np.zeros((1, 3))] * 2)
    with pytest.raises(ConfigError, match="whole structures"):
        describe([salt()], "scattering", points=[np.zeros((1, 3))])
    with pytest.raises(StructureError, match=r"finite numbers \[P, 3\]"):
        describe([salt()], "soap", points=[np.zeros((1, 2))])
