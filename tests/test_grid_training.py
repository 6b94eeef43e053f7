"""Training models that look from a grid: what the batches predict, energies, forces and stress, and densities."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from conftest import make_grid_potential

from jax_models import DatasetError
from jax_models.reference_points.grid_list import grid_points
from jax_models.training.data.batches import common_shape, pack
from jax_models.training.data.grid_batches import prepare_grid
from jax_models.training.data.structures import Structure
from jax_models.training.gradient.losses import predict
from jax_models.training.gradient.trainer import train
from jax_models.training.settings import Settings

CUTOFF = 3.5
GRID = {
    "descriptor": {"name": "gmp", "sigmas": [0.5, 0.8, 1.2], "orders": [0]},
    "readout": {"name": "mlp", "hidden": [6]},
    "reference_points": {"name": "grid", "spacing": 0.8},
}


def structures(potential, number=6, n_atoms=4, seed=0):
    """Random structures labelled by ``potential``."""
    generator, found = np.random.default_rng(seed), []
    for index in range(number):
        cell = np.diag([3.9, 4.1, 4.3]) + generator.normal(scale=0.15, size=(3, 3))
        sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])[: n_atoms - index % 2]
        positions = (sites + generator.normal(scale=0.04, size=sites.shape)) @ cell
        symbols = ("Cu", "Au", "Cu", "Au")[: len(sites)]
        label = potential.evaluate(positions, cell, True, list(symbols))
        found.append(
            Structure(
                positions,
                cell,
                np.ones(3, bool),
                symbols,
                label["energy"],
                label["forces"],
                label["virial"],
                name=f"s{index}",
            )
        )
    return found


@pytest.fixture(scope="module")
def teacher():
    return make_grid_potential(("Cu", "Au"), CUTOFF, GRID)


def test_batches_predict_what_the_potential_does(teacher):
    """Several structures in one padded batch, in double precision."""
    data = structures(teacher, 3)
    prepared = [prepare_grid(s, ("Cu", "Au"), teacher.reference_energies, CUTOFF, spacing=0.8) for s in data]
    batch = pack(prepared, common_shape(prepared, 3))
    with jax.enable_x64(True):
        wide = jax.tree.map(
            lambda leaf: np.asarray(leaf, float) if np.asarray(leaf).dtype == np.float32 else leaf, batch
        )
        energies, forces, virials = predict(teacher.model_in(np.float64), wide)
    start = 0
    for index, s in enumerate(data):
        np.testing.assert_allclose(energies[index], batch.energy[index], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(forces[start : start + len(s)], s.forces, atol=1e-5)
        np.testing.assert_allclose(virials[index], s.virial, atol=1e-4)
        start += len(s)


def test_training_lowers_the_loss_over_energies_forces_and_stress(teacher):
    trained = train(
        structures(teacher, 8), GRID, CUTOFF, Settings(epochs=80, learning_rate=0.01, validation_fraction=0.0)
    )
    assert (trained.potential.contract.centers, trained.potential.contract.spacing) == ("grid", 0.8)
    assert {"energy_rmse", "force_rmse", "virial_rmse"} <= set(trained.potential.provenance["metrics"]["train"])
    assert min(r["loss"] for r in trained.history) < 0.3 * trained.history[0]["loss"]


@pytest.fixture(scope="module")
def dense(teacher):
    """Structures labelled with the energy density of a grid potential at its own points."""
    found = []
    for s in structures(teacher, 2):
        points = grid_points(s.positions, s.cell, True, 0.8, CUTOFF)
        nb = points.neighborhood(s.positions, s.cell, teacher.species_of(list(s.symbols)), np.float64)
        with jax.enable_x64(True):
            values = np.asarray(teacher.energies(nb))
        density = np.zeros(points.indices.max(axis=0) + 1)
        density[tuple(points.indices.T)] = values
        energy = density.mean() * abs(np.linalg.det(s.cell))
        found.append(dataclasses.replace(s, energy=energy, density=density, forces=None, virial=None))
    return found


def test_a_density_is_a_label(dense):
    found = train(dense, GRID, CUTOFF, Settings(epochs=2, validation_fraction=0.0)).potential
    assert set(found.provenance["metrics"]["train"]) == {
        f"{q}_{e}" for q in ("energy", "density") for e in ("rmse", "mae")
    }
    assert not found.reference_energies.any()


def test_every_nth_point_of_a_fine_density(dense):
    """As many as the model's spacing asks for, and the right ones."""
    fine = np.arange(24 * 12 * 5.0).reshape(24, 12, 5)
    prepared = prepare_grid(dataclasses.replace(dense[0], density=fine), ("Cu", "Au"), np.zeros(2), CUTOFF, spacing=0.9)
    assert prepared.density.tolist() == fine[::4, ::2].ravel().tolist()
    np.testing.assert_allclose(prepared.volume, abs(np.linalg.det(dense[0].cell)) / (6 * 6 * 5))


def test_densities_that_cannot_be_used(dense):
    data = dense
    for broken, message in (
        (dataclasses.replace(data[0], density=np.zeros((2, 2, 2))), "s0: the points of its density are .* Å apart"),
        (dataclasses.replace(data[0], periodic=np.array([True, True, False])), "s0: a density on a grid needs"),
        (dataclasses.replace(data[0], density=np.full((9, 9, 9), np.nan)), "s0: density has shape .* finite"),
    ):
        with pytest.raises(DatasetError, match=message):
            train([broken, data[1]], GRID, CUTOFF, Settings(epochs=1, validation_fraction=0.0))


def test_a_linear_readout_is_fitted_by_least_squares(teacher):
    """Exactly, where the truth is linear: energies, forces and stress."""
    from jax_models.training.linear.linear_trainer import train_linear

    linear = {**GRID, "readout": {"name": "linear"}}
    truth = make_grid_potential(("Cu", "Au"), CUTOFF, linear)
    data = structures(truth, 2)
    found = train_linear(data, linear, CUTOFF, Settings(ridge=1e-13, force_weight=100.0)).potential
    errors = found.provenance["metrics"]["train"]
    assert found.contract.centers == "grid"
    energy = np.sqrt(np.mean([(s.energy / len(s)) ** 2 for s in data]))
    forces = np.sqrt(np.mean(np.concatenate([s.forces for s in data]) ** 2))
    # Forces are what is left of large contributions that cancel, and the labels are rounded to single precision.
    assert (
        errors["energy_rmse"] < 1e-5 * energy
        and errors["virial_rmse"] < 1e-4 * energy
        and errors["force_rmse"] < 0.05 * forces
    ), errors
