"""Elastic constants and barriers against answers that are known or found another way."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import add_adsorbate, bulk, fcc111
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.optimize import BFGS, FIRE
from message_passing_potentials import message_passing_potential
from potentials_from_functions import SW_CUTOFF, stillinger_weber

from jax_models import ConfigError, ConvergenceError, Potential, StructureError
from jaxff import JaxffCalculator
from jaxff.properties.barrier import find_barrier
from jaxff.properties.elastic import elastic_constants
from jaxff.properties.equation_of_state import equation_of_state
from jaxff.properties.phonons import phonons
from jaxff.properties.relaxation import relax
from jaxff.properties.saddle import curvatures
from jaxff.properties.vacancy import vacancy


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


def crystal_of(name):
    """A potential and a crystal for it: with internal relaxation, without, of two free parameters, of low symmetry."""
    if name == "silicon":
        return Potential.from_function(stillinger_weber, ["Si"], cutoff=SW_CUTOFF), bulk("Si", a=5.43)
    if name == "molybdenum":
        return pair_potential("Mo", 2.75), bulk("Mo", a=3.15, cubic=True)
    if name == "hcp":
        return pair_potential("Ti", 2.9), bulk("Ti", a=2.9, c=4.7)
    low = bulk("Si", a=5.43, cubic=True)
    low.set_cell(
        low.cell.array @ (np.eye(3) + np.array([[0.03, 0.02, -0.01], [0.02, -0.02, 0.03], [-0.01, 0.03, 0.01]])),
        scale_atoms=True,
    )
    low.rattle(0.1, seed=1)
    return Potential.from_function(stillinger_weber, ["Si"], cutoff=SW_CUTOFF), low


def pair_potential(element, nearest):
    """Morse pairs that end smoothly, deep and stiff enough for a metal."""

    def energy(nb):
        import jax.numpy as jnp

        r = jnp.sqrt(jnp.sum(nb.vectors**2, axis=-1))
        t = jnp.clip(r / 7.0, 0.0, 1.0)
        morse = jnp.exp(-2.6 * (r - nearest)) - 2.0 * jnp.exp(-1.3 * (r - nearest))
        return 0.25 * jnp.sum(jnp.where(nb.mask, morse * (1 - t**2) ** 3, 0.0), axis=-1)

    return Potential.from_function(energy, [element], cutoff=7.0)


@pytest.mark.parametrize("name", ["silicon", "molybdenum", "hcp", "low symmetry"])
def test_second_derivatives_are_the_limit_of_finite_strains(name):
    potential, atoms = crystal_of(name)
    atoms.calc = JaxffCalculator(potential, "double")
    relaxed = name != "low symmetry"  # kept as it is: sheared, under stress, no atom at a symmetric place
    if not relaxed:
        relax(atoms, 1e-7)
    exact = elastic_constants(atoms, relax=relaxed, method="autodiff", fmax=1e-6)
    at_rest = exact.atoms.copy()
    at_rest.calc = atoms.calc
    finite = elastic_constants(at_rest, relax=False, strain=5e-4, fmax=1e-7)
    np.testing.assert_allclose(exact.constants, finite.constants, atol=0.01)
    clamped = elastic_constants(at_rest, relax=False, method="autodiff", clamped=True)
    finite = elastic_constants(at_rest, relax=False, strain=5e-4, clamped=True)
    np.testing.assert_allclose(clamped.constants, finite.constants, atol=0.01)
    assert (np.abs(clamped.constants - exact.constants).max() > 1.0) == (name != "molybdenum")


@pytest.mark.parametrize("name", ["schnet", pytest.param("painn", marks=pytest.mark.slow)])
def test_second_derivatives_of_a_message_passing_network(name):
    """Untrained, so under stress and at no minimum: clamped constants, whose stress terms count here."""
    potential = message_passing_potential(name)
    atoms = bulk("SiO", "rocksalt", a=4.4)
    atoms.rattle(0.1, seed=0)
    atoms.calc = JaxffCalculator(potential, "double")
    exact, finite = (
        elastic_constants(atoms, relax=False, clamped=True, method=m, strain=5e-5) for m in ("autodiff", "stress")
    )
    scale = np.abs(finite.constants).max()
    np.testing.assert_allclose(exact.constants, finite.constants, atol=2e-5 * scale)


def test_autodiff_needs_a_potential_and_a_minimum():
    copper = bulk("Cu")
    copper.calc = EMT()
    with pytest.raises(ConfigError, match="JaxffCalculator"):
        elastic_constants(copper, method="autodiff")
    with pytest.raises(ConfigError, match="method is 'exact'; it must be autodiff or stress"):
        elastic_constants(copper, method="exact")
    potential, _ = crystal_of("molybdenum")
    simple = Atoms("Mo2", positions=[[0, 0, 0], [2.75, 0, 0]], cell=np.diag([5.5, 2.75, 2.75]), pbc=True)
    simple.calc = JaxffCalculator(potential, "double")
    with pytest.raises(StructureError, match="not a minimum"):
        elastic_constants(simple, relax=False, method="autodiff")


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


def test_vacancy_in_copper():
    """Against the same numbers put together by hand, and EMT's known ones (formation 1.2 eV, hop about 0.7)."""
    crystal = bulk("Cu", a=3.7, cubic=True)
    result = vacancy(crystal, EMT(), repeat=(2, 2, 2), images=1)
    perfect = crystal.copy() * 2
    perfect.calc = EMT()
    relax(perfect, 1e-3, cell=True)
    energy = perfect.get_potential_energy()
    del perfect[5]
    relax(perfect, 0.005)
    assert result.formation_energy == pytest.approx(perfect.get_potential_energy() - 31 / 32 * energy, abs=2e-3)
    assert result.migration_barrier == pytest.approx(0.7, abs=0.1)
    assert result.saddle.negative_modes == 1
    assert len(result.atoms) == 31
    # Down from the saddle along its mode there are the two ends.
    down = []
    for sign in (1, -1):
        slid = result.hop.saddle.copy()
        slid.positions += sign * 0.2 * result.saddle.mode
        slid.calc = EMT()
        with FIRE(slid, logfile=None) as downhill:  # quasi-Newton steps would climb back to the saddle
            assert downhill.run(fmax=0.01, steps=500)
        down.append(slid.get_potential_energy())
    np.testing.assert_allclose(down, perfect.get_potential_energy(), atol=3e-3)
    assert curvatures(result.atoms, EMT()).negative_modes == 0


def test_vacancies_that_mean_nothing_are_refused():
    with pytest.raises(StructureError, match="has several elements"):
        vacancy(bulk("NaCl", "rocksalt", a=5.6), EMT())
    with pytest.raises(StructureError, match="no atom 3"):
        vacancy(bulk("Cu"), EMT(), site=3)
    with pytest.raises(ConfigError, match="three positive whole numbers"):
        vacancy(bulk("Cu"), EMT(), repeat=(2, 0, 2))
    with pytest.raises(StructureError, match="periodic in three directions"):
        vacancy(fcc111("Cu", (1, 1, 3), vacuum=5.0), EMT())


def test_equation_of_state_agrees_with_the_elastic_constants():
    copper = bulk("Cu", a=3.65)
    copper.calc = EMT()
    state = equation_of_state(copper)
    elastic = elastic_constants(copper)
    assert state.bulk_modulus == pytest.approx(elastic.bulk_modulus, rel=0.01)
    assert state.volume == pytest.approx(elastic.atoms.get_volume(), rel=1e-3)
    with pytest.raises(ConfigError, match="at least 5"):
        equation_of_state(copper, points=4)


def test_phonons_are_waves_of_the_elastic_medium():
    """The slope of the longitudinal branch from Gamma to X is the velocity of sound, sqrt(C11 / density)."""
    copper = bulk("Cu", a=3.6, cubic=True)
    copper.calc = EMT()
    result = phonons(copper, repeat=(4, 4, 4), points=60)
    assert len(result.gamma) == 3
    assert np.abs(result.gamma).max() < 0.01
    assert -0.05 < result.lowest <= result.gamma.max()
    assert 7.0 < result.highest < 9.0
    step = result.frequencies[1] - result.frequencies[0]
    assert result.density.sum() * step == pytest.approx(3.0, abs=0.3)
    piece = result.labels.index(("G", "X"))
    elastic = elastic_constants(copper)
    density = elastic.atoms.get_masses().sum() * 1.66053907e-27 / (elastic.atoms.get_volume() * 1e-30)
    sound = np.sqrt(elastic.constants[0, 0] * 1e9 / density)
    slope = result.bands[piece][4].max() * 1e12 / ((result.distances[piece][4] - result.distances[piece][0]) * 1e10)
    assert slope == pytest.approx(sound, rel=0.03)
