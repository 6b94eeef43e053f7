"""Engines evaluate a network layer by layer in blocks, and get what the plain evaluation of the whole gives."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from message_passing_potentials import ARCHITECTURES, message_passing_potential

from jaxff import JaxffCalculator

LAYERS = {
    "schnet": lambda n: {"n_interactions": n},
    "painn": lambda n: {"n_interactions": n},
    "mace": lambda n: {"num_interactions": n},
    "nequip": lambda n: {"num_layers": n},
    "tensornet": lambda n: {"nblocks": n - 1},  # the embedding is a layer too
}


def silica(n: int = 2, seed: int = 0) -> Atoms:
    atoms = bulk("Si", "diamond", a=5.2, cubic=True).repeat((n, 1, 1))
    generator = np.random.default_rng(seed)
    atoms.set_chemical_symbols(generator.choice(["Si", "O"], len(atoms)).tolist())
    atoms.rattle(0.15, seed=seed)
    return atoms


def compare(calculator: JaxffCalculator, atoms: Atoms, tolerance: float) -> None:
    expected = calculator.potential.evaluate(atoms.positions, atoms.cell.array, atoms.pbc, atoms.get_chemical_symbols())
    atoms.calc = calculator
    assert np.abs(atoms.get_potential_energies() - expected["energies"]).max() < tolerance
    assert np.abs(atoms.get_forces() - expected["forces"]).max() < 10 * tolerance
    if atoms.cell.rank == 3:
        stress = atoms.get_stress(voigt=False) * atoms.get_volume()
        assert np.abs(stress - expected["virial"]).max() < 100 * tolerance


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        pytest.param(name, layers, marks=pytest.mark.slow if name == "nequip" and layers > 2 else ())
        for name in ARCHITECTURES
        for layers in (1, 2, 3, 4)
    ],
)
def test_calculator_equals_plain_evaluation(name, layers):
    potential = message_passing_potential(name, **LAYERS[name](layers))
    assert potential.contract.layers == layers
    calculator = JaxffCalculator(potential, precision="double")
    calculator.evaluator.cpu_block = 16  # several blocks, the last one padded
    compare(calculator, silica(5), 1e-10)
    compare(calculator, silica(1), 1e-10)


def test_single_precision_and_small_or_open_systems():
    potential = message_passing_potential("mace")
    compare(JaxffCalculator(potential), silica(2), 2e-5)
    double = JaxffCalculator(potential, precision="double")
    compare(double, bulk("Si", "diamond", a=5.2), 1e-10)
    compare(double, bulk("Si", "sc", a=2.4), 1e-10)
    compare(double, Atoms("Si", [[0, 0, 0]]), 1e-10)
    compare(double, Atoms("SiO2", [[0, 0, 0], [0, 0, 1.6], [0, 1.5, -0.6]]), 1e-10)


def test_a_run_of_changing_atoms_compiles_once():
    calculator = JaxffCalculator(message_passing_potential("schnet"), skin=0.0)
    counts = []
    for seed in range(4):
        atoms = silica(3, seed)
        atoms.calc = calculator
        atoms.get_forces()
        counts.append(calculator.evaluator.compilations)
    assert counts[-1] == counts[1]


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_tabulated_radial_functions_are_the_networks_own(name):
    """Single precision looks them up: value and slope, up to the cutoff, zero beyond it."""
    import jax
    import jax.numpy as jnp

    model = message_passing_potential(name).model
    table = model.tabulated().radial_tables[1]
    r = jnp.asarray(np.random.default_rng(0).uniform(0.3, 3.6, 400), jnp.float32)
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), model)
        exact, slope = jax.jvp(lambda r: double.radial_functions(1, r), (r.astype(float),), (jnp.ones(r.shape),))
    exact, slope = np.asarray(exact), np.asarray(slope)
    found, pull_back = jax.vjp(table, r)
    assert np.abs(found - exact).max() < 1e-6 * np.abs(exact).max()
    weights = jnp.asarray(np.random.default_rng(1).normal(size=exact.shape), jnp.float32)
    assert np.abs(pull_back(weights)[0] - (slope * weights).sum(-1)).max() < 1e-4 * np.abs(slope).max()
    assert not np.abs(table(jnp.asarray([3.6, 7.0, np.inf]))).any()
