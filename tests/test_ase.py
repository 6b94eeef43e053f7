"""What ASE users rely on: the right energy, its derivatives, and a neighbour list that is never stale."""

from __future__ import annotations

import copy

import numpy as np
import plain_reference
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet
from potentials_from_functions import SW_CUTOFF, stillinger_weber

from jax_models import ConfigError, ModelFileError, Potential, StructureError
from jaxff import JaxffCalculator


def silicon(repeat=(2, 1, 1), rattle=0.1, seed=0):
    atoms = bulk("Si", cubic=True) * repeat
    atoms.rattle(rattle, seed=seed)
    return atoms


def silica(repeat=(1, 1, 1)):
    atoms = silicon(repeat)
    atoms.symbols[::3] = "O"
    return atoms


def slab():
    atoms = silicon((1, 1, 2))
    atoms.pbc = (True, True, False)
    atoms.cell[2] = 0.0
    return atoms


def wire():
    atoms = silicon((1, 1, 2))
    atoms.pbc = (False, False, True)
    atoms.set_cell([[0, 0, 0], [0, 0, 0], [0.7, 0.4, 11.0]])
    return atoms


def cluster():
    return Atoms("Si4", [[0, 0, 0], [2.3, 0, 0.1], [0.2, 2.4, 0], [1.8, 1.7, 1.9]])


def primitive():
    atoms = bulk("Si")
    atoms.rattle(0.1, seed=3)
    return atoms


def triclinic():
    atoms = silicon()
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + [[0.02, 0.2, -0.1], [0, -0.05, 0.3], [0, 0, 0.04]]), scale_atoms=True
    )
    return atoms


STRUCTURES = {f.__name__: f for f in (silicon, slab, wire, cluster, primitive, triclinic)}


def attach(atoms, potential, precision="double", **settings):
    atoms.calc = JaxffCalculator(potential, precision=precision, **settings)
    return atoms


@pytest.fixture(scope="session")
def stillinger_weber_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("sw") / "sw.jaxff"
    Potential.from_function(stillinger_weber, ["Si"], cutoff=SW_CUTOFF).save(path)
    return path


@pytest.mark.parametrize("name", STRUCTURES)
def test_the_same_as_the_plain_reference(name, silicon_potential):
    atoms = attach(STRUCTURES[name](), silicon_potential)
    structure = atoms.positions, atoms.cell.array, atoms.pbc, atoms.get_chemical_symbols()
    expected = plain_reference.evaluate(silicon_potential, *structure)
    assert abs(atoms.get_potential_energy() - expected["energy"]) < 1e-10
    np.testing.assert_allclose(atoms.get_potential_energies(), expected["energies"], atol=1e-10)
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=1e-10)
    single = attach(atoms.copy(), silicon_potential, "single")
    np.testing.assert_allclose(single.get_potential_energy(), expected["energy"], rtol=1e-6)
    np.testing.assert_allclose(single.get_forces(), expected["forces"], atol=1e-4)


@pytest.mark.parametrize("name", STRUCTURES)
def test_forces_are_derivatives(name, silicon_potential):
    atoms = attach(STRUCTURES[name](), silicon_potential)
    start, direction, step = atoms.positions.copy(), np.random.default_rng(0).normal(size=(len(atoms), 3)), 1e-4
    expected = -np.sum(atoms.get_forces() * direction)
    energies = []
    for sign in (1, -1):
        atoms.positions = start + sign * step * direction
        energies.append(atoms.get_potential_energy())
    np.testing.assert_allclose((energies[0] - energies[1]) / (2 * step), expected, rtol=1e-6)


@pytest.mark.parametrize("make", [silicon, primitive, triclinic, silica])
def test_stress_is_the_strain_derivative(make, silica_potential):
    atoms = attach(make(), silica_potential)
    stress, cell, volume, step = atoms.get_stress(voigt=False), atoms.cell.array.copy(), atoms.get_volume(), 1e-5
    numerical = np.zeros((3, 3))
    for a, b in np.ndindex(3, 3):
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[a, b] = strain[b, a] = sign * step * (1.0 if a == b else 0.5)
            atoms.set_cell(cell @ (np.eye(3) + strain), scale_atoms=True)
            numerical[a, b] += sign * atoms.get_potential_energy() / (2 * step * volume)
            atoms.set_cell(cell, scale_atoms=True)
    np.testing.assert_allclose(numerical, stress, rtol=1e-6, atol=1e-6 * np.abs(stress).max())


def test_per_atom_parts_add_up(silica_potential):
    atoms = attach(silica(), silica_potential)
    energies, stresses = atoms.get_potential_energies(), atoms.get_stresses()
    np.testing.assert_allclose(energies.sum(), atoms.get_potential_energy(), rtol=1e-13)
    np.testing.assert_allclose(stresses.sum(axis=0), atoms.get_stress(), rtol=1e-12)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


def test_invariances(silica_potential):
    atoms = attach(silica(), silica_potential)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    rotated = attach(
        Atoms(atoms.symbols, atoms.positions @ rotation, cell=atoms.cell.array @ rotation, pbc=True), silica_potential
    )
    np.testing.assert_allclose(rotated.get_potential_energy(), energy, rtol=1e-12)
    np.testing.assert_allclose(rotated.get_forces(), forces @ rotation, atol=1e-11)
    order = np.random.default_rng(2).permutation(len(atoms))
    permuted = attach(atoms[order], silica_potential)
    np.testing.assert_allclose(permuted.get_potential_energy(), energy, rtol=1e-13)
    np.testing.assert_allclose(permuted.get_forces(), forces[order], atol=1e-12)
    moved = attach(atoms.copy(), silica_potential)
    moved.positions += [7.3, -20.1, 0.4]  # out of the cell, and not wrapped back
    moved.positions[3] += atoms.cell.array.sum(axis=0)
    np.testing.assert_allclose(moved.get_forces(), forces, atol=1e-11)
    supercell = attach(atoms * (2, 1, 3), silica_potential)
    np.testing.assert_allclose(supercell.get_potential_energy(), 6 * energy, rtol=1e-12)
    np.testing.assert_allclose(supercell.get_stress(), atoms.get_stress(), rtol=1e-11)


def test_a_kept_list_gives_what_a_fresh_list_gives(silicon_potential):
    """Along a walk of atoms and cell, whatever moves: atoms, strain, both, a wrap, the boundary conditions."""
    generator = np.random.default_rng(0)
    kept = attach(silicon((2, 2, 2), rattle=0.05), silicon_potential)
    for step in range(60):
        kept.positions += generator.normal(scale=0.02, size=kept.positions.shape)
        if step % 2:
            kept.set_cell(
                kept.cell.array @ (np.eye(3) + generator.normal(scale=0.004, size=(3, 3))),
                scale_atoms=bool(step % 4 - 1),
            )
        if step == 30:
            kept.wrap()
        if step == 45:
            kept.pbc = (True, False, True)
        fresh = attach(kept.copy(), silicon_potential, skin=0.0)
        assert abs(kept.get_potential_energy() - fresh.get_potential_energy()) < 1e-10
        np.testing.assert_allclose(kept.get_forces(), fresh.get_forces(), atol=1e-10)
    assert 2 < kept.calc.neighbor_list_builds < 50


def test_other_atoms_in_the_same_calculator(silica_potential):
    calculator = JaxffCalculator(silica_potential, precision="double")
    for atoms in (silicon(), silica((2, 1, 1)), silicon(), cluster(), silica()):
        atoms.calc = calculator
        fresh = attach(atoms.copy(), silica_potential)
        assert abs(atoms.get_potential_energy() - fresh.get_potential_energy()) < 1e-10


def test_calculators_of_one_file_share_the_compiled_function(silicon_potential, tmp_path):
    path = tmp_path / "si.jaxff"
    silicon_potential.save(path)
    first, second, double = JaxffCalculator(path), JaxffCalculator(str(path)), JaxffCalculator(path, "double")
    assert first.evaluator is second.evaluator
    assert first.evaluator is not double.evaluator
    atoms = silicon()
    atoms.calc = first
    energy = atoms.get_potential_energy()
    duplicate = copy.deepcopy(atoms)
    assert duplicate.calc is not first
    assert duplicate.calc.evaluator is first.evaluator
    duplicate.positions[0] += 0.1
    assert duplicate.get_potential_energy() != energy
    assert atoms.get_potential_energy() == energy


@pytest.mark.parametrize("precision", ["single", "double"])
def test_energy_is_conserved(precision, stillinger_weber_file):
    atoms = attach(silicon((2, 2, 2), rattle=0.0), stillinger_weber_file, precision)
    MaxwellBoltzmannDistribution(atoms, temperature_K=600, rng=np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, timestep=1.0 * units.fs)
    energies = []
    dynamics.attach(lambda: energies.append(atoms.get_total_energy() / len(atoms)))
    dynamics.run(200)
    assert np.ptp(energies[5:]) < 2e-4  # eV/atom: Verlet's own oscillation at 1 fs
    assert abs(np.mean(energies[100:150]) - np.mean(energies[150:])) < 1e-5


def test_no_stress_without_a_volume(silicon_potential):
    from ase.calculators.calculator import PropertyNotImplementedError

    atoms = attach(cluster(), silicon_potential)
    atoms.get_forces()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_lone_and_absent_atoms(silicon_potential):
    lone = attach(Atoms("Si", [[0.0, 0, 0]]), silicon_potential)
    assert np.all(lone.get_forces() == 0.0)
    far = attach(Atoms("Si2", [[0.0, 0, 0], [0, 0, 50.0]]), silicon_potential)
    np.testing.assert_allclose(far.get_potential_energy(), 2 * lone.get_potential_energy())
    assert attach(Atoms(), silicon_potential).get_potential_energy() == 0.0


def test_what_cannot_be_evaluated_is_named(silicon_potential, tmp_path):
    with pytest.raises(StructureError, match="no parameters for H, O; it knows Si"):
        attach(molecule("H2O"), silicon_potential).get_potential_energy()
    atoms = attach(silicon(), silicon_potential)
    atoms.get_potential_energy()
    atoms.positions[5, 1] = np.nan
    with pytest.raises(StructureError, match="atom 5 has a position that is not finite"):
        atoms.get_potential_energy()
    for step in (0.0, 0.1):  # on a fresh list, and by moving there under a kept one
        atoms = attach(silicon(), silicon_potential)
        atoms.positions[7] = atoms.positions[2] + step
        if step:
            atoms.get_potential_energy()
            atoms.positions[7] -= step
            atoms.positions[7] = atoms.positions[2]
        with pytest.raises(StructureError, match="atoms 2 and 7 are at the same place"):
            atoms.get_potential_energy()
    flat = attach(Atoms("Si2", [[0.0, 0, 0], [0, 0, 2.0]], cell=[4, 4, 0], pbc=True), silicon_potential)
    with pytest.raises(StructureError, match="no volume"):
        flat.get_potential_energy()
    with pytest.raises(ModelFileError, match="absent.jaxff"):
        JaxffCalculator(tmp_path / "absent.jaxff")
    with pytest.raises(ConfigError, match="precision is 'half'"):
        JaxffCalculator(silicon_potential, precision="half")
    with pytest.raises(ConfigError, match="skin is -1"):
        JaxffCalculator(silicon_potential, skin=-1)
