"""Systems: one interface for every kind of potential, and nothing that one evaluation could leave for another."""

from __future__ import annotations

import concurrent.futures
import copy
import pickle
import subprocess
import sys

import numpy as np
import plain_reference
import pytest
from ase import Atoms
from ase.build import bulk
from conftest import make_grid_potential, make_potential
from message_passing_potentials import message_passing_potential
from whole_cell_potentials import whole_cell_potential

from jax_models import ConfigError, JaxffError, Potential, StructureError
from jax_models.systems import Result, system_for
from jaxff import JaxffCalculator

GRID = {
    "descriptor": {"name": "gmp", "sigmas": [0.5, 0.8], "orders": [0]},
    "readout": {"name": "mlp", "hidden": [4]},
    "reference_points": {"name": "grid", "spacing": 0.7},
}


@pytest.fixture(scope="module")
def potentials():
    """One of every kind, of Si and O."""
    return {
        "atoms": make_potential(("Si", "O")),
        "layers": message_passing_potential("painn"),
        "grid": make_grid_potential(("Si", "O"), 3.5, GRID),
        "cell": whole_cell_potential(),
    }


KINDS = ("atoms", "layers", "grid", "cell")


def quartz(seed=0, repeat=(1, 1, 1)):
    atoms = bulk("Si", cubic=True) * repeat
    atoms.symbols[::3] = "O"
    atoms.rattle(0.1, seed=seed)
    return atoms


def arguments(atoms):
    return atoms.positions, atoms.cell.array, atoms.pbc


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_what_its_contract_declares(kind, potentials):
    potential, atoms = potentials[kind], quartz()
    assert potential.contract.system == kind
    symbols = atoms.get_chemical_symbols()
    found = system_for(potential, "double").evaluate(*arguments(atoms), potential.species_of(symbols))
    assert isinstance(found, Result)
    assert set(found.to_dict()) == set(potential.contract.outputs)
    expected = plain_reference.evaluate(potential, *arguments(atoms), symbols)
    for name in potential.contract.outputs:
        scale = max(1.0, np.abs(expected[name]).max())
        np.testing.assert_allclose(found.to_dict()[name], expected[name], atol=1e-9 * scale, err_msg=name)
    again = potential.evaluate(*arguments(atoms), symbols)
    assert again.keys() == found.to_dict().keys()
    assert again["energy"] == pytest.approx(found.energy, abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_threads_do_not_disturb_each_other(kind, potentials):
    """Calculators of one potential share compiled functions; each has its own lists and workspaces."""
    structures = [quartz(seed) for seed in range(4)]
    for atoms in structures:
        atoms.calc = JaxffCalculator(potentials[kind])
    expected = [atoms.get_potential_energy() for atoms in structures]

    def walk(index):
        atoms, energies = structures[index], []
        start = atoms.positions.copy()
        for step in range(6):
            atoms.positions = start + 0.01 * (step % 3)
            energies.append(atoms.get_potential_energy())
            atoms.positions = start
            energies.append(atoms.get_potential_energy())
        return energies

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        found = list(threads.map(walk, range(4)))
    for energies, energy in zip(found, expected, strict=True):
        np.testing.assert_allclose(energies[1::2], energy, atol=1e-4)


DEGENERATE = {
    "a missing vector": ([[5.4, 0, 0], [0, 0, 0], [0, 0, 9]], (True, True, False)),
    "parallel vectors": ([[5.4, 0, 0], [5.4, 0, 0], [0, 0, 9]], (True, True, False)),
    "a missing vector, alone": ([[0, 0, 0], [0, 5, 0], [0, 0, 5]], (True, False, False)),
    "three in a plane": ([[5.4, 0, 0], [0, 5.4, 0], [5.4, 5.4, 0]], (True, True, True)),
    "nearly parallel": ([[5.4, 0, 0], [5.4, 1e-9, 0], [0, 0, 9]], (True, True, False)),
}


def test_degenerate_periodic_cells_are_named(tmp_path):
    """In a process of its own: the neighbour search ended Python by a floating-point exception."""
    make_potential().save(tmp_path / "si.jaxff")
    code = (
        "from ase import Atoms\nfrom jaxff import JaxffCalculator\nfrom jax_models import StructureError\n"
        "calculator = JaxffCalculator('si.jaxff')\n"
        f"for cell, periodic in {list(DEGENERATE.values())}:\n"
        "    atoms = Atoms('Si2', [[0, 0, 0], [1.4, 1.4, 1.4]], cell=cell, pbc=periodic, calculator=calculator)\n"
        "    try:\n        atoms.get_potential_energy()\n    except StructureError as error:\n        print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert len(told) == len(DEGENERATE), told
    assert all("is periodic" in line and " no " in line for line in told)


def test_what_is_not_periodic_may_have_any_vector(potentials):
    """A vector along a direction without periodicity means nothing: it may be missing, or parallel to another."""
    energies = []
    for third in ([0, 0, 12.0], [0, 0, 0], [5.43, 0, 0], [1.0, 2.0, 30.0]):
        atoms = quartz()
        atoms.pbc = (True, True, False)
        atoms.cell[2] = third
        atoms.calc = JaxffCalculator(potentials["atoms"], "double")
        energies.append(atoms.get_potential_energy())
    np.testing.assert_allclose(energies, energies[0], rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_leaves_nothing_behind(kind, potentials):
    """New species come with a position that is not a number; the structure is mended, and gives its own energy."""
    atoms = quartz()
    atoms.calc = JaxffCalculator(potentials[kind], "double")
    atoms.get_potential_energy()
    atoms.symbols[:] = "Si"
    atoms.symbols[1::2] = "O"
    good = atoms.positions.copy()
    atoms.positions[3, 1] = np.nan
    with pytest.raises(StructureError, match="atom 3"):
        atoms.get_potential_energy()
    atoms.positions = good
    fresh = atoms.copy()
    fresh.calc = JaxffCalculator(potentials[kind], "double")
    assert atoms.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), fresh.get_forces(), atol=1e-9)


@pytest.mark.parametrize("kind", ["grid", "cell"])
def test_a_small_strain_keeps_the_number_of_points(kind, potentials):
    """Where a new structure would get one point more, the energy of one system goes on smoothly."""
    potential, spacing = potentials[kind], 0.7
    if kind == "cell":
        spacing = potential.model.grid_spacing
    atoms = quartz()
    counts = 8 if kind == "grid" else max(potential.model.grid_for(atoms.cell.array))
    exact = counts * spacing / atoms.cell.cellpar()[0]
    calculator, energies = JaxffCalculator(potential, "double"), []
    cell = atoms.cell.array * exact
    strains = np.linspace(-3e-4, 3e-4, 13)
    for strain in strains:
        atoms.set_cell(cell * (1 + strain), scale_atoms=True)
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
    smooth = np.polynomial.Polynomial.fit(strains, energies, 3)(strains)
    np.testing.assert_allclose(energies, smooth, atol=1e-6 * len(atoms))
    # Another calculator of the same potential begins with the grid that its own structure asks for.
    large = quartz()
    large.set_cell(cell * 1.02, scale_atoms=True)
    large.calc = JaxffCalculator(potential, "double")
    expected = plain_reference.evaluate(potential, *arguments(large), large.get_chemical_symbols())
    assert large.get_potential_energy() == pytest.approx(expected["energy"], abs=1e-8)
    del calculator


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("from_file", [True, False])
def test_a_used_calculator_can_be_pickled(kind, from_file, potentials, tmp_path):
    path = tmp_path / "p.jaxff"
    potentials[kind].save(path)
    atoms = quartz()
    atoms.calc = JaxffCalculator(path if from_file else potentials[kind], "double", skin=0.3)
    energy = atoms.get_potential_energy()
    data = pickle.dumps(atoms)
    path.unlink()
    revived = pickle.loads(data)
    assert revived.calc.results["energy"] == energy
    assert revived.calc.parameters["skin"] == 0.3
    revived.positions += 0.0
    revived.rattle(0.02, seed=5)
    atoms.rattle(0.02, seed=5)
    assert revived.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(revived.get_forces(), atoms.get_forces(), atol=1e-9)


SPAWNED = """
import multiprocessing
from ase.build import bulk
from jaxff import JaxffCalculator

def energy(atoms):
    return atoms.get_potential_energy()

if __name__ == "__main__":
    atoms = bulk("Si", cubic=True)
    atoms.calc = JaxffCalculator("si.jaxff")
    atoms.get_potential_energy()
    moved = []
    for step in range(3):
        other = atoms.copy()
        other.rattle(0.01 * step, seed=step)
        other.calc = atoms.calc
        moved.append(other)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(energy, moved)
    assert all(abs(e - a.get_potential_energy()) < 1e-4 for e, a in zip(found, moved))
    print("the same")
"""
FORKED = """
import os, sys
from ase.build import bulk
from jaxff import JaxffCalculator
atoms = bulk("Si", cubic=True)
atoms.calc = JaxffCalculator("si.jaxff")
atoms.get_potential_energy()
child = os.fork()
if child == 0:
    atoms.positions += 0.01
    try:
        atoms.get_potential_energy()
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    try:
        JaxffCalculator("si.jaxff").calculate(atoms)
    except Exception as error:
        print(type(error).__name__, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def run_script(code, folder):
    (folder / "script.py").write_text(code)
    make_potential().save(folder / "si.jaxff")
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_spawned_processes_take_calculators(tmp_path):
    assert "the same" in run_script(SPAWNED, tmp_path)


def test_a_forked_child_is_told(tmp_path):
    """It would wait for threads that exist in its parent only."""
    told, *again = run_script(FORKED, tmp_path).splitlines()
    assert told.startswith("JaxffError this process was forked") and "spawn" in told
    assert again == ["JaxffError"]


def test_settings_of_a_calculator(potentials, tmp_path):
    potential = potentials["atoms"]
    atoms = quartz()
    calculator = atoms.calc = JaxffCalculator(potential, "single")
    single = atoms.get_potential_energy()
    with pytest.raises(ConfigError, match="there is no setting nonsense; there are potential, precision"):
        calculator.set(nonsense=1)
    with pytest.raises(ConfigError, match="precision is 'triple'"):
        calculator.set(precision="triple")
    assert atoms.get_potential_energy() == single
    assert calculator.set(precision="double") == {"precision": "double"}
    assert calculator.set(precision="double") == {}
    expected = plain_reference.evaluate(potential, *arguments(atoms), atoms.get_chemical_symbols())["energy"]
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-9)
    assert abs(single - expected) > 1e-9


def test_databases_and_trajectories_record_the_potential(potentials, tmp_path):
    import hashlib

    from ase.db import connect
    from ase.io import read, write

    potentials["atoms"].save(tmp_path / "p.jaxff")
    digest = hashlib.sha256((tmp_path / "p.jaxff").read_bytes()).hexdigest()
    atoms = quartz()
    atoms.calc = JaxffCalculator(tmp_path / "p.jaxff")
    energy = atoms.get_potential_energy()
    with connect(tmp_path / "a.db") as database:
        database.write(atoms)
        row = database.get(1)
    assert row.calculator == "jaxff" and row.energy == energy
    assert row.calculator_parameters["sha256"] == digest
    write(tmp_path / "a.traj", atoms)
    calculator = read(tmp_path / "a.traj").calc
    assert calculator.name == "jaxff"
    assert calculator.parameters["sha256"] == digest and calculator.parameters["precision"] == "single"


def test_engines_ask_for_what_they_cannot_provide(potentials):
    contract = potentials["layers"].contract
    contract.refuse_unless({"neighbors", "messages"}, "an engine", "p.jaxff")
    with pytest.raises(ConfigError, match=r"p.jaxff passes messages between neighbours; an engine cannot run it"):
        contract.refuse_unless({"neighbors"}, "an engine", "p.jaxff")


def test_empty_and_lone_structures(potentials):
    for kind in KINDS:
        potential = potentials[kind]
        system = system_for(potential, "double")
        if kind != "cell":
            nothing = system.evaluate(np.zeros((0, 3)), np.zeros((3, 3)), False, np.zeros(0, int))
            assert nothing.energy == 0.0 and nothing.forces.shape == (0, 3)
        if kind in ("atoms", "layers"):  # a grid stands still in space, and pulls at an atom a little
            lone = Atoms("O", [[1.0, 2, 3]])
            found = system.evaluate(*arguments(lone), potential.species_of(["O"]))
            np.testing.assert_allclose(found.forces, 0.0, atol=1e-6)


def test_a_file_of_an_earlier_schema_has_a_contract(tmp_path):
    from pathlib import Path

    for name in ("ace_schema1", "function_schema1"):
        contract = Potential.load(Path(__file__).parent / "files" / f"{name}.jaxff").contract
        assert contract.needs == ("neighbors",) and "virials" in contract.outputs
    assert issubclass(ConfigError, JaxffError)


def test_a_calculator_keeps_its_potential_whatever_becomes_of_the_file(tmp_path):
    path = tmp_path / "p.jaxff"
    make_potential().save(path)
    atoms = bulk("Si", cubic=True)
    atoms.calc = JaxffCalculator(path, "double")
    energy = atoms.get_potential_energy()
    make_potential(("Si", "O"), seed=7).save(path)
    assert atoms.calc.set(skin=1.0) == {"skin": 1.0}
    assert atoms.calc.potential.elements == ("Si",)
    path.unlink()
    for calculator in (copy.deepcopy(atoms.calc), pickle.loads(pickle.dumps(atoms.calc)), atoms.calc):
        calculator.set(skin=0.2)
        other = atoms.copy()
        other.calc = calculator
        assert other.get_potential_energy() == pytest.approx(energy, abs=1e-10)


class Named(JaxffCalculator):
    """A user's own kind of calculator."""


def test_copies_keep_their_class_and_share_what_is_compiled(potentials):
    calculator = Named(potentials["atoms"])
    calculator.todict()
    duplicate = copy.deepcopy(calculator)
    assert type(duplicate) is Named and duplicate.evaluator is calculator.evaluator
    assert type(pickle.loads(pickle.dumps(calculator))) is Named


def test_potentials_can_be_copied_and_pickled(potentials, tmp_path):
    potentials["atoms"].save(tmp_path / "p.jaxff")
    loaded = Potential.load(tmp_path / "p.jaxff")
    atoms = quartz()
    structure = (*arguments(atoms), atoms.get_chemical_symbols())
    energy = loaded.evaluate(*structure)["energy"]
    for other in (copy.deepcopy(loaded), pickle.loads(pickle.dumps(loaded))):
        assert other.evaluate(*structure)["energy"] == energy


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_that_is_not_finite_is_named(kind, potentials):
    for periodic in (True, False):
        atoms = quartz()
        atoms.calc = JaxffCalculator(potentials[kind])
        if kind == "atoms":
            atoms.get_potential_energy()
        atoms.pbc = periodic
        atoms.cell[1, 1] = np.nan
        with pytest.raises(StructureError, match="the cell has entries that are not finite"):
            atoms.get_potential_energy()


def test_the_grid_of_a_cell_stays_when_its_lengths_change_places(potentials):
    """Two vectors of nearly one length, and a strain that makes the shorter one the longer."""
    potential = potentials["cell"]
    atoms = quartz()
    calculator, energies, grids = JaxffCalculator(potential, "double"), [], set()
    spacing = potential.model.grid_spacing
    # The first vector just needs a larger grid than the second, and then loses its place.
    counts = potential.model.grid_for(atoms.cell.array)
    length = counts[0] * spacing
    strains = np.linspace(-4e-3, 4e-3, 17)
    for strain in strains:
        atoms.set_cell(np.diag([length * (1.001 - strain), length * (0.999 + strain), length * 0.95]), scale_atoms=True)
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
        grids.add((tuple(calculator.system._order), calculator.system._grid))
    assert len(grids) == 1
    smooth = np.polynomial.Polynomial.fit(strains, energies, 4)(strains)
    np.testing.assert_allclose(energies, smooth, atol=1e-5 * len(atoms))


@pytest.mark.parametrize("kind", ["grid", "cell"])
def test_unrelated_structures_start_anew(kind, potentials):
    """The errors of a data set must not depend on the order of its frames."""
    potential, calculator = potentials[kind], JaxffCalculator(potentials[kind], "double")
    small, large = quartz(), quartz()
    large.set_cell(large.cell.array * 1.2, scale_atoms=True)
    for atoms in (small, large, small):
        calculator.start_anew()
        atoms.calc = calculator
        expected = plain_reference.evaluate(potential, *arguments(atoms), atoms.get_chemical_symbols())["energy"]
        assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-8)


FORKED_BY_ANOTHER = """
import os
import jax.numpy as jnp
from ase.build import bulk
from jaxff import JaxffCalculator
jnp.ones(3).sum().block_until_ready()
import jax_models.systems
child = os.fork()
if child == 0:
    try:
        atoms = bulk("Si", cubic=True)
        atoms.calc = JaxffCalculator("si.jaxff")
        atoms.get_potential_energy()
    except Exception as error:
        print(type(error).__name__, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_forked_child_is_told_whoever_used_jax(tmp_path):
    assert run_script(FORKED_BY_ANOTHER, tmp_path).split() == ["JaxffError"]
