"""Models that look from the points of a grid: the energy's definition, derivatives, boundaries, ASE, bad settings."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from conftest import make_potential
from test_reference_points import CELL, POSITIONS, SMALL, SYMBOLS

from jax_models import ConfigError, Contract, Potential, StructureError
from jax_models.models import VOLUME, build
from jax_models.neighborhood import Neighborhood
from jax_models.reference_points.grid_list import grid_points, grid_steps
from jaxff import JaxffCalculator

CUTOFF = 3.5


def grid_potential(descriptor="soap", spacing=0.7):
    architecture = {
        "descriptor": {"name": descriptor, **SMALL[descriptor]},
        "readout": {"name": "mlp", "hidden": [4]},
        "reference_points": {"name": "grid", "spacing": spacing},
    }
    return make_potential(("Si", "O"), CUTOFF, architecture=architecture)


@pytest.fixture(scope="module")
def potential():
    return grid_potential()


def learned(result, symbols=SYMBOLS):
    return result["energy"] + 4.0 * symbols.count("Si") + 8.0 * symbols.count("O")


def test_energy_is_the_integral_over_the_cell(potential):
    """Every point of the cell, its environment gathered by hand among all images; empty space costs nothing."""
    counts = [int(np.ceil(np.linalg.norm(a) / 0.7)) for a in CELL]
    points = np.array(list(itertools.product(*map(range, counts)))) / counts @ CELL
    images = np.array(list(itertools.product(range(-2, 3), repeat=3))) @ CELL
    everything = (POSITIONS[None] + images[:, None]).reshape(-1, 3)
    species = np.tile(potential.species_of(SYMBOLS), len(images))
    vectors = everything[None] - points[:, None]
    mask = np.linalg.norm(vectors, axis=2) < CUTOFF
    width = mask.sum(axis=1).max()
    order = np.argsort(~mask, axis=1, kind="stable")[:, :width]
    with jax.enable_x64(True):
        model = potential.model_in(np.float64)
        nb = Neighborhood(
            np.take_along_axis(vectors, order[..., None], axis=1), np.full(len(points), -1), species[order],
            np.take_along_axis(mask, order, axis=1),
        )  # fmt: skip
        nowhere = Neighborhood(np.ones((1, 1, 3)), np.array([-1]), np.zeros((1, 1), int), np.zeros((1, 1), bool))

        def density(nb):
            features = (model.descriptor.inner(nb) - model.feature_mean) * model.feature_scale
            return model.readout(features, jnp.zeros(len(nb.species), jnp.int32))

        total = float(jnp.sum(density(nb) - density(nowhere))) / VOLUME * abs(np.linalg.det(CELL)) / np.prod(counts)
    assert abs(total) > 0.01
    np.testing.assert_allclose(learned(potential.evaluate(POSITIONS, CELL, True, SYMBOLS)), total, rtol=1e-9)


@pytest.mark.parametrize(
    "descriptor",
    ["soap", *(pytest.param(d, marks=pytest.mark.slow) for d in ("ace", "acsf", "chebyshev", "gmp", "mbtr"))],
)
def test_forces_and_virial_are_derivatives(descriptor):
    potential = grid_potential(descriptor)
    positions = POSITIONS + 0.05  # an atom on a point is a cusp of features that are not smooth at r = 0
    result = potential.evaluate(positions, CELL, True, SYMBOLS)
    assert np.abs(result["forces"]).max() > 1e-4
    np.testing.assert_allclose(result["energies"].sum(), result["energy"])
    np.testing.assert_allclose(result["virials"].sum(axis=0), result["virial"])
    generator, step = np.random.default_rng(0), 1e-6
    direction, strain = generator.normal(size=(5, 3)), generator.normal(size=(3, 3))

    def energy(t):
        deformation = np.eye(3) + t * strain
        return potential.evaluate((positions + t * direction) @ deformation, CELL @ deformation, True, SYMBOLS)[
            "energy"
        ]

    numerical = (energy(step) - energy(-step)) / (2 * step)
    analytical = -np.sum(result["forces"] * direction) + np.sum(result["virial"] * strain)
    np.testing.assert_allclose(analytical, numerical, rtol=2e-6, atol=1e-7)


def test_the_egg_box_shrinks_with_the_spacing():
    """Moving everything at once across half a grid cell: what changes is the error of the sum for the integral."""
    errors = []
    for spacing in (0.75, 0.5):
        potential = grid_potential("gmp", spacing)
        steps, _ = grid_steps(CELL, np.ones(3, bool), spacing)
        energies = [
            potential.evaluate(POSITIONS + f * steps.sum(axis=0), CELL, True, SYMBOLS)["energy"]
            for f in (0.1, 0.35, 0.6)
        ]
        errors.append(np.ptp(energies) / 5)
        whole = potential.evaluate(POSITIONS + steps[1] - 2 * steps[2] + CELL[0], CELL, True, SYMBOLS)["energy"]
        np.testing.assert_allclose(whole, potential.evaluate(POSITIONS, CELL, True, SYMBOLS)["energy"], atol=1e-9)
    assert errors[1] < 0.2 * errors[0] < 1e-3, errors


def test_open_boundaries(potential):
    """The grid stands still: whatever the box, and after a jump by whole steps, a cluster has the same energy."""
    cell, off = np.zeros((3, 3)), np.array([0.21, 0.13, 0.4])
    alone = potential.evaluate(POSITIONS + off, cell, False, SYMBOLS)
    boxed = potential.evaluate(POSITIONS + off, 40 * np.eye(3), False, SYMBOLS)
    np.testing.assert_allclose(boxed["energy"], alone["energy"], atol=1e-9)
    jumped = potential.evaluate(POSITIONS + off + 0.7 * np.array([30, -7, 12]), cell, False, SYMBOLS)
    np.testing.assert_allclose(jumped["forces"], alone["forces"], atol=1e-9)
    # In a large periodic cell with the same steps nothing else is seen.
    large = potential.evaluate(POSITIONS + off, 0.7 * 20 * np.eye(3), True, SYMBOLS)
    np.testing.assert_allclose(large["energy"], alone["energy"], atol=1e-9)
    far = np.concatenate([POSITIONS, POSITIONS + 0.7 * np.array([40, 0, 0])]) + off
    twice = potential.evaluate(far, cell, False, SYMBOLS * 2)
    np.testing.assert_allclose(learned(twice, SYMBOLS * 2), 2 * learned(alone), atol=1e-9)


@pytest.mark.parametrize("periodic", [(True, True, True), (True, False, True)])
def test_the_same_in_ase(potential, periodic):
    """Also along a trajectory, where the list of points is kept, and in a strained cell."""
    atoms = Atoms(SYMBOLS, POSITIONS, cell=CELL, pbc=periodic)
    atoms.calc = JaxffCalculator(potential, precision="double")
    generator = np.random.default_rng(0)
    for step in range(4):
        expected = potential.evaluate(atoms.positions, CELL if step < 3 else atoms.cell.array, atoms.pbc, SYMBOLS)
        np.testing.assert_allclose(atoms.get_potential_energy(), expected["energy"], atol=1e-9)
        np.testing.assert_allclose(atoms.get_potential_energies(), expected["energies"], atol=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=1e-9)
        np.testing.assert_allclose(atoms.get_stress(voigt=False) * atoms.get_volume(), expected["virial"], atol=1e-8)
        atoms.positions += generator.normal(scale=0.03, size=(5, 3))
        if step == 2:
            atoms.set_cell(CELL * 1.01, scale_atoms=True)
    assert atoms.calc.neighbor_list_builds <= 2
    single = Atoms(SYMBOLS, atoms.positions, cell=atoms.cell, pbc=periodic, calculator=JaxffCalculator(potential))
    np.testing.assert_allclose(single.get_forces(), atoms.get_forces(), atol=1e-3)


def test_every_atom_is_seen_whatever_the_cell():
    """Against brute force: skewed and small cells, atoms outside of them, points that see nothing left out."""
    generator = np.random.default_rng(3)
    for periodic in itertools.product((False, True), repeat=3):
        cell = np.array([[3.0, 0, 0], [2.1, 2.5, 0], [-1.0, 1.4, 7.0]])
        positions = generator.uniform(-1, 2, (3, 3)) @ cell
        found = grid_points(positions, cell, periodic, 0.6, 3.2)
        if all(periodic):
            shifts = np.array(list(itertools.product(range(-6, 7), repeat=3)))
            everything = (positions[None] + (shifts @ cell)[:, None]).reshape(-1, 3)
            counts = np.ceil(np.linalg.norm(cell, axis=1) / 0.6).astype(int)
            points = np.array(list(itertools.product(*map(range, counts)))) / counts @ cell
            pairs = (np.linalg.norm(everything[None] - points[:, None], axis=2) < 3.2).sum()
            assert (found.neighbors >= 0).sum() == pairs
        images = positions[found.atoms] + found.shifts @ cell
        distances = np.linalg.norm(images[found.neighbors] - found.points[:, None], axis=2)
        assert (distances[found.neighbors >= 0] <= 3.2).all() and (found.neighbors[:, 0] >= 0).all()
        assert not found.shifts[:, ~np.array(periodic)].any()
    assert len(grid_points(np.zeros((1, 3)), np.diag([20.0, 20, 20]), True, 1.0, 2.99).points) == 93
    with pytest.raises(StructureError, match="no volume"):
        grid_points(np.zeros((1, 3)), np.zeros((3, 3)), True, 1.0, 3.0)
    with pytest.raises(StructureError, match="atom 0 .* not finite"):
        grid_points(np.full((1, 3), np.nan), np.eye(3), True, 1.0, 3.0)


def test_the_file(potential, tmp_path):
    potential.save(tmp_path / "grid.jaxff")
    loaded = Potential.load(tmp_path / "grid.jaxff")
    assert (loaded.contract.centers, loaded.contract.spacing) == ("grid", 0.7)
    expected = potential.evaluate(POSITIONS, CELL, True, SYMBOLS)["energy"]
    assert loaded.evaluate(POSITIONS, CELL, True, SYMBOLS)["energy"] == expected


def test_bad_settings():
    def grid(**settings):
        return {"descriptor": {"name": "soap"}, "reference_points": {"name": "grid", **settings}}

    for architecture, message in (
        (grid(spacing=-1.0), r"spacing is -1.0; it must be above 0 and at most 0.4 of the cutoff, 2 Å"),
        (grid(spacing="fine"), "spacing is fine; it must be above 0"),
        (grid(spacing=1.4), r"spacing is 1.4, too coarse for the descriptor's Gaussians; .* at most 0.9\d+ Å"),
        (grid() | {"priors": [{"name": "zbl"}]}, "priors act between atoms"),
    ):
        with pytest.raises(ConfigError, match=message):
            build(architecture, ("Si",), 5.0)
    with pytest.raises(ConfigError, match="a grid needs a positive one"):
        Contract(("Si",), 5.0, centers="grid")
    assert build({"descriptor": {"name": "soap"}, "reference_points": "grid"}, ("Si",), 5.0).spacing == 0.8
