"""matgl's TensorNet becomes a .jaxff file and gives matgl's numbers (data/make_tensornet_reference.py)."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest
from ase import Atoms
from lammps_runs import EVALUATE, read_evaluation, run_lammps, write_data
from typer.testing import CliRunner

from jax_models import ModelFileError, Potential
from jax_models.imports import potential_from_file
from jax_models.neighborhood import neighborhood_of
from jaxff import JaxffCalculator
from jaxff.cli.app import app

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "universal"
REFERENCE = json.loads((Path(__file__).parent / "data" / "tensornet_reference.json").read_text())
FUNCTIONALS = ("PBE", "r2SCAN")
QUICK = "SrTiO3"
"""A structure of few elements, for the one case that is not slow."""


def published(functional: str, which: str = "model.json") -> Path:
    path = FOLDER / f"TensorNet-MatPES-{functional}-v2025.1.{which}"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path


@pytest.fixture(scope="module", params=FUNCTIONALS)
def functional(request):
    return request.param


@pytest.fixture(scope="module")
def potential(functional):
    return potential_from_file(published(functional))


def atoms_of(name: str) -> tuple[Atoms, dict]:
    found = REFERENCE["structures"][name]
    return Atoms(found["symbols"], found["positions"], cell=found["cell"], pbc=found["periodic"]), found


def check(values: dict, atoms: Atoms, expected: dict, energy: float, force: float) -> None:
    assert values["energy"] / len(atoms) == pytest.approx(expected["energy"] / len(atoms), abs=energy)
    np.testing.assert_allclose(values["forces"], expected["forces"], rtol=0, atol=force)
    if "stress" in expected:
        np.testing.assert_allclose(values["virial"] / atoms.get_volume(), expected["stress"], rtol=0, atol=force / 10)


CASES = [(functional, name) for functional in FUNCTIONALS for name in REFERENCE["structures"]]


@pytest.mark.parametrize(
    ("functional", "name"),
    [pytest.param(*case, marks=() if case == ("PBE", QUICK) else pytest.mark.slow) for case in CASES],
)
def test_it_gives_the_numbers_of_matgl(functional, name):
    potential = potential_from_file(published(functional))
    atoms, reference = atoms_of(name)
    given = atoms.positions, atoms.cell.array, atoms.pbc, atoms.get_chemical_symbols()
    check(potential.evaluate(*given), atoms, reference[functional], 1e-11, 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(REFERENCE["structures"]))
def test_single_precision_is_as_good_as_matgls(potential, functional, name):
    atoms, reference = atoms_of(name)
    given = atoms.positions, atoms.cell.array, atoms.pbc, atoms.get_chemical_symbols()
    check(potential.evaluate(*given, double=False), atoms, reference[functional], 1e-5, 1e-4)


def test_every_element_beside_an_oxygen(potential, functional):
    """All in one evaluation: pairs so far apart that they do not see each other. Alone, each is finite."""
    elements = REFERENCE["elements"]
    assert list(potential.elements) == elements and len(elements) == 89
    origins = np.arange(len(elements))[:, None] * np.array([30.0, 0, 0])
    for alone in (False, True):
        offsets = np.array([[0, 0, 0], [0, 0.6, 12.0 if alone else 2.0]])
        positions = (origins[:, None] + offsets).reshape(-1, 3)
        with jax.enable_x64(True):
            species = potential.species_of([symbol for element in elements for symbol in (element, "O")])
            nb = neighborhood_of(positions, np.zeros((3, 3)), False, species, potential.cutoff)
            energies = np.asarray(eqx.filter_jit(potential.energies)(nb)) + potential.reference_energies[species]
        assert np.isfinite(energies).all()
        if not alone:
            expected = REFERENCE["pairs"][functional]
            np.testing.assert_allclose(energies.reshape(-1, 2).sum(axis=1), expected, rtol=0, atol=1e-9)


def test_the_command_takes_either_file_and_says_where_it_comes_from(tmp_path):
    out, given = tmp_path / "net.jaxff", str(published("PBE", "state.pt"))
    outcome = CliRunner().invoke(app, ["import", given, "--out", str(out), "--elements", "Si,O"])
    assert outcome.exit_code == 0, outcome.output
    first = Potential.load(out, verify=False)
    second = potential_from_file(published("PBE")).only(["Si", "O"])
    assert first.elements == ("Si", "O") and first.contract.layers == 3
    assert first.provenance["dtype"] == "float32" and first.provenance["license"].startswith("BSD-3")
    assert "Simeon" in first.contract.citation and "2503.04070" in first.contract.citation
    for ours, theirs in zip(jax.tree.leaves(first.model), jax.tree.leaves(second.model), strict=True):
        assert np.array_equal(np.float32(ours), np.float32(theirs))


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_lammps_gives_what_ase_gives(tmp_path, ranks):
    atoms, _ = atoms_of("five elements in an oxide")
    elements = sorted(set(atoms.get_chemical_symbols()))
    potential_from_file(published("PBE")).save(tmp_path / "oxide.jaxff")
    types = [elements.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
    write_data(tmp_path / "oxide.data", atoms.positions, atoms.cell.array, types, len(elements))
    atoms.calc = JaxffCalculator(Potential.load(tmp_path / "oxide.jaxff"), precision="double")
    for exchange in ("comm", "halo"):
        pair = f"pair_style jaxff precision double exchange {exchange}\npair_coeff * * oxide.jaxff {' '.join(elements)}"
        script = EVALUATE.format(name="oxide", boundary="p p p", newton="on", processors=f"{ranks} 1 1", pair=pair)
        run_lammps(script, tmp_path, ranks)
        found = read_evaluation(tmp_path, "oxide")
        assert found["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
        np.testing.assert_allclose(found["forces"], atoms.get_forces(), rtol=0, atol=1e-8)


@pytest.fixture
def copies(tmp_path):
    """The PBE files, to be spoiled: the settings, and the state."""
    for which in ("model.json", "state.pt"):
        shutil.copy(published("PBE", which), tmp_path / f"net.{which}")
    return tmp_path / "net.model.json", tmp_path / "net.state.pt"


def spoil(path: Path, **changes) -> None:
    """Change settings of the network, or of the whole where their names begin with an underscore."""
    settings = json.loads(path.read_text())
    for name, value in changes.items():
        if name.startswith("_"):
            settings["kwargs"]["model"]["@" + name[1:]] = value
        elif name in settings["kwargs"]:
            settings["kwargs"][name] = value
        else:
            settings["kwargs"]["model"]["init_args"][name] = value
    path.write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"rbf_type": "Gaussian"}, "rbf_type is 'Gaussian'; only 'SphericalBessel'"),
        ({"equivariance_invariance_group": "SO(3)"}, r"equivariance_invariance_group is 'SO\(3\)'"),
        ({"is_intensive": True}, "is_intensive is True"),
        ({"calc_repuls": True}, "has calc_repuls, which cannot be converted"),
        ({"units": 64}, r"has the shape .*; the settings say"),
        ({"nblocks": 3}, "has no model.layers.2.linears_scalar.0.weight"),
        ({"units": "many"}, "net.model.json: "),
        ({"cutoff": -1.0}, "cutoff is -1.0; it must be a positive distance"),
        ({"_class": "M3GNet"}, "a Potential of a M3GNet; only a Potential of a TensorNet"),
        ({"_module": "matgl.models._tensornet_dgl"}, "version 1 of matgl.models._tensornet_dgl is not known"),
        ({"_model_version": 3}, "version 3 of"),
    ],
)
def test_another_network_is_refused_by_name(copies, changes, text):
    spoil(copies[0], **changes)
    with pytest.raises(ModelFileError, match=text):
        potential_from_file(copies[0])


class Code:
    def __reduce__(self):
        return eval, ("__import__('os').system('touch ran')",)


def test_damaged_files_and_files_with_code_are_refused(copies, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings, state = copies
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match=r"net.state.pt is not a file of torch.save, or is damaged"):
        potential_from_file(settings)
    with zipfile.ZipFile(state, "w") as archive:
        archive.writestr("state/data.pkl", pickle.dumps({"model.linear.weight": Code()}, protocol=2))
    with pytest.raises(ModelFileError, match=r"holds a .*eval, which is not a tensor"):
        potential_from_file(settings)
    assert not (tmp_path / "ran").exists()
    with zipfile.ZipFile(state, "w") as archive:
        archive.writestr("state/data.pkl", pickle.dumps([1, 2, 3], protocol=2))
    with pytest.raises(ModelFileError, match=r"net.state.pt is not the state of a matgl Potential"):
        potential_from_file(settings)
    state.unlink()
    with pytest.raises(ModelFileError, match=r"needs net.state.pt beside it, which is missing"):
        potential_from_file(settings)
    state.write_bytes(whole)
    settings.write_text(settings.read_text()[:3000])
    with pytest.raises(ModelFileError, match=r"net.model.json is not the model.json of a matgl Potential"):
        potential_from_file(state)
    settings.unlink()
    with pytest.raises(ModelFileError, match=r"needs net.model.json beside it, which is missing"):
        potential_from_file(state)


def test_version_2_has_the_atom_first(copies):
    """matgl 3 and 4 write version 2, whose embedding has the two atoms of a pair in the other order."""
    first = potential_from_file(copies[0]).model.embedding.pair.weights
    spoil(copies[0], _model_version=2, _module="matgl.models._tensornet")
    second = potential_from_file(copies[0]).model.embedding.pair.weights
    n = len(first) // 2
    assert np.array_equal(first[:n], second[n:]) and np.array_equal(first[n:], second[:n])
    assert not np.array_equal(first, second)
