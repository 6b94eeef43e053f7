"""Elastic constants and barriers against answers that are known or found another way."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import add_adsorbate, bulk, fcc111
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from potentials_from_functions import SW_CUTOFF, stillinger_weber

from jax_models import ConfigError, ConvergenceError, Potential, StructureError
from jaxff import JaxffCalculator
from jaxff.properties.barrier import find_barrier
from jaxff.properties.elastic import elastic_constants
from jaxff.properties.relaxation import relax


def vacancy_hop(repeat=2):
    """A copper crystal with a vacancy, before and after a neighbour of it jumps in."""
    crystal = bulk("Cu", a=3.59, cubic=True) * repeat
    neighbor = int(np.argmin(crystal.get_distances(0, range(1, len(crystal)), mic=True))) + 1
    initial, final = crystal.copy(), crystal.copy()
    del initial[0]
    final.positions[neighbor] = crystal.positions[0]
    del final[0]
    return initial, final, neighbor - 1


def curvature(atoms, calculator, strain, size=1e-3):
    """Second derivative of the energy density (GPa) along ``strain``, atoms following the cell."""
    energies = []
    for sign in (1, 0, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * size * strain), scale_atoms=True)
        strained.calc = calculator
        energies.append(strained.get_potential_energy())
    return (energies[0] - 2 * energies[1] + energies[2]) / size**2 / atoms.get_volume() / units.GPa


SHEAR = np.array([[0.0, 0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]])


def test_elastic_constants_of_copper_are_energy_derivatives():
    atoms = bulk("Cu", a=3.65)
    atoms.calc = EMT()
    result = elastic_constants(atoms)
    assert atoms.cell.lengths()[0] == pytest.approx(3.65 / np.sqrt(2))  # what was given is not changed
    c11 = curvature(result.atoms, EMT(), np.diag([1.0, 0, 0]))
    np.testing.assert_allclose(result.constants[0, 0], c11, rtol=2e-3)
    np.testing.assert_allclose(result.constants[5, 5], curvature(result.atoms, EMT(), SHEAR), rtol=2e-3)
    np.testing.assert_allclose(result.bulk_modulus, curvature(result.atoms, EMT(), np.eye(3)) / 9, rtol=2e-3)
    np.testing.assert_allclose(result.constants, result.constants.T)


def test_internal_relaxation_in_silicon():
    """Stillinger-Weber silicon: 151.4, 76.4, 56.4 GPa (Balamane et al., PRB 46, 2250)."""
    atoms = bulk("Si", a=5.5)
    atoms.calc = JaxffCalculator(Potential.from_function(stillinger_weber, ["Si"], cutoff=SW_CUTOFF), "double")
    result = elastic_constants(atoms)
    np.testing.assert_allclose(result.constants[[0, 0, 3], [0, 1, 3]], [151.4, 76.4, 56.4], atol=0.5)
    np.testing.assert_allclose(result.atoms.cell.lengths() * np.sqrt(2), 5.431, atol=1e-3)
    clamped = elastic_constants(atoms, clamped=True).constants[5, 5]
    assert clamped > 100  # nearly twice the relaxed one
    np.testing.assert_allclose(clamped, curvature(result.atoms, atoms.calc, SHEAR), rtol=2e-3)
    single = bulk("Si", a=5.5, cubic=True)
    single.calc = JaxffCalculator(atoms.calc.potential, "single")
    np.testing.assert_allclose(elastic_constants(single).constants, result.constants, atol=0.5)


def test_vacancy_hop_climbs_to_the_symmetric_saddle():
    initial, final, hopping = vacancy_hop()
    result = find_barrier(initial, final, EMT(), images=3)
    assert len(result.energies) == 5
    np.testing.assert_allclose(result.energies, result.energies[::-1], atol=2e-3)
    assert result.forward == pytest.approx(result.reverse, abs=1e-3)
    # The saddle lies half-way, where symmetry keeps a relaxation from falling off it.
    middle = initial.copy()
    middle.positions[hopping] = 0.5 * (initial.positions[hopping] + final.positions[hopping])
    for atoms in (middle, initial):
        atoms.calc = EMT()
        BFGS(atoms, logfile=None).run(fmax=0.003)
    assert result.forward == pytest.approx(middle.get_potential_energy() - initial.get_potential_energy(), abs=1e-3)
    # The files may hold wrapped atoms: the path is the same, and no image jumps across the cell.
    shift = 0.1 * initial.cell.lengths()
    for atoms in (initial, final):
        atoms.positions -= shift
        atoms.wrap()
    wrapped = find_barrier(initial, final, EMT(), images=3)
    np.testing.assert_allclose(wrapped.energies, result.energies, atol=1e-3)
    assert wrapped.distances[-1] < 4.0


def test_unequal_ends_and_fixed_atoms():
    slab = fcc111("Cu", (2, 2, 2), a=3.59, vacuum=6.0)
    slab.pbc = (True, True, False)
    slab.set_constraint(FixAtoms(range(8)))
    initial, final = slab.copy(), slab.copy()
    add_adsorbate(initial, "Al", 2.0, "fcc")
    add_adsorbate(final, "Al", 2.0, "hcp")
    result = find_barrier(initial, final, EMT(), images=5)
    assert result.forward > 0
    assert result.forward - result.reverse == pytest.approx(result.energies[-1] - result.energies[0], abs=1e-12)
    assert abs(result.forward - result.reverse) > 1e-3
    for image in result.images:
        np.testing.assert_array_equal(image.positions[:8], slab.positions[:8])


def test_ends_that_do_not_belong_together_are_refused():
    initial, final, _ = vacancy_hop()
    with pytest.raises(StructureError, match="31 atoms and the final one 30"):
        find_barrier(initial, final[:-1], EMT())
    other = final.copy()
    other.symbols[4] = "Au"
    with pytest.raises(StructureError, match="atom 4 is Cu in the initial structure and Au in the final one"):
        find_barrier(initial, other, EMT())
    initial_alloy = initial.copy()
    initial_alloy.symbols[7] = "Au"
    with pytest.raises(StructureError, match="their order does not"):
        find_barrier(initial_alloy, other, EMT())
    other = final.copy()
    other.cell[0, 0] += 0.1
    with pytest.raises(StructureError, match="different cells"):
        find_barrier(initial, other, EMT())
    other = final.copy()
    other.pbc = False
    with pytest.raises(StructureError, match="boundary conditions"):
        find_barrier(initial, other, EMT())
    with pytest.raises(StructureError, match="same structure"):
        find_barrier(initial, initial, EMT())
    with pytest.raises(ConfigError, match="images is 0"):
        find_barrier(initial, final, EMT(), images=0)


def test_what_does_not_converge_says_so():
    initial, final, _ = vacancy_hop()
    with pytest.raises(ConvergenceError, match="after 2 steps, not below 0.1"):
        find_barrier(initial, final, EMT(), images=1, steps=2)
    initial.calc = EMT()
    initial.rattle(0.1)
    with pytest.raises(ConvergenceError, match="relaxation of Cu31 has forces"):
        relax(initial, fmax=1e-8, steps=3)


def test_elastic_constants_need_a_crystal():
    slab = fcc111("Cu", (1, 1, 3), vacuum=5.0)
    slab.calc = EMT()
    with pytest.raises(StructureError, match="periodic in three directions"):
        elastic_constants(slab)
    crystal = bulk("Cu")
    crystal.calc = EMT()
    with pytest.raises(ConfigError, match="strain is 0.5"):
        elastic_constants(crystal, strain=0.5)
