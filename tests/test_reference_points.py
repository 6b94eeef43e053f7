"""Models that look from the middle of bonds: the energy's definition, derivatives, and every descriptor there."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_potential
from lammps_runs import BAR, EVALUATE, read_evaluation, run_lammps, write_data

from jax_models import ConfigError, Potential
from jax_models.models import build
from jax_models.neighborhood import neighborhood_of

SMALL = {
    "ace": {"n_channels": 3, "n_radial": 4, "l_max": 2},
    "acsf": {},
    "chebyshev": {"radial_n": 3, "angular_n": 3},
    "gmp": {"sigmas": [0.5, 1.0], "orders": [-1, 0, 1, 2]},
    "mbtr": {
        "geometry": {"function": "cosine"},
        "grid": {"min": -1.0, "max": 1.0, "sigma": 0.4, "n": 4},
        "weighting": {"function": "unity"},
    },
    "soap": {"n_max": 3, "l_max": 2},
}
POSITIONS = np.array([[0.0, 0, 0], [1.6, 0.2, 0.1], [0.3, 1.8, -0.2], [1.5, 1.6, 1.4], [0.1, 0.4, 1.9]])
CELL = np.array([[4.6, 0, 0], [0.4, 4.9, 0], [-0.3, 0.5, 5.2]])
SYMBOLS = ["Si", "O", "O", "Si", "O"]


def bond_potential(descriptor, **points):
    architecture = {
        "descriptor": {"name": descriptor, **SMALL[descriptor]},
        "readout": {"name": "mlp", "hidden": [4]},
        "reference_points": {"name": "bonds", "bond_cutoff": 2.6, **points},
    }
    return make_potential(("Si", "O"), 4.5, architecture=architecture)


def test_energy_is_the_weighted_sum_over_midpoints():
    """Every bond once, its environment gathered by hand around the midpoint, images included."""
    potential = bond_potential("soap")
    energy = potential.evaluate(POSITIONS, CELL, True, SYMBOLS)["energy"] - potential.reference_energies @ [2, 3]
    species = potential.species_of(SYMBOLS)
    images = [np.array(s) @ CELL for s in np.ndindex(5, 5, 5)]
    everything = np.concatenate([POSITIONS + s - 2 * CELL.sum(axis=0) for s in images])
    all_species = np.tile(species, len(images))
    total, seen_from = 0.0, 4.5 - 1.3
    with jax.enable_x64(True):
        model = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64) if hasattr(leaf, "dtype") else leaf, potential.model
        )
        for here in POSITIONS:
            distances = np.linalg.norm(everything - here, axis=1)
            for j in np.flatnonzero((distances > 1e-6) & (distances < 2.6)):
                middle = 0.5 * (here + everything[j])
                vectors = everything - middle
                near = np.linalg.norm(vectors, axis=1) < seen_from
                nb = neighborhood_of(np.zeros((1, 3)), np.zeros((3, 3)), False, species[:1], 1.0)
                nb = nb._replace(
                    vectors=vectors[near][None],
                    neighbor_species=all_species[near][None],
                    mask=np.ones((1, near.sum()), bool),
                )
                features = (
                    model.descriptor.inner(nb._replace(species=np.array([-1]))) - model.feature_mean
                ) * model.feature_scale
                weight = (1 - (distances[j] / 2.6) ** 2) ** 3
                total += 0.5 * weight * float(model.readout(features, jnp.zeros(1, jnp.int32))[0])
    assert abs(total) > 1e-2
    np.testing.assert_allclose(energy, total, rtol=1e-9)


@pytest.mark.parametrize("descriptor", sorted(SMALL))
def test_forces_and_virial_are_derivatives(descriptor):
    potential = bond_potential(descriptor)
    result = potential.evaluate(POSITIONS, CELL, True, SYMBOLS)
    assert np.abs(result["forces"]).max() > 1e-3
    generator, step = np.random.default_rng(0), 1e-5
    direction, strain = generator.normal(size=(5, 3)), generator.normal(size=(3, 3))

    def energy(t):
        deformation = np.eye(3) + t * strain
        return potential.evaluate((POSITIONS + t * direction) @ deformation, CELL @ deformation, True, SYMBOLS)[
            "energy"
        ]

    numerical = (energy(step) - energy(-step)) / (2 * step)
    analytical = -np.sum(result["forces"] * direction) + np.sum(result["virial"] * strain)
    np.testing.assert_allclose(analytical, numerical, rtol=1e-6, atol=1e-8)


def test_invariances_and_the_file(tmp_path):
    potential = bond_potential("gmp")
    expected = potential.evaluate(POSITIONS, CELL, True, SYMBOLS)["energy"]
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turned = potential.evaluate(POSITIONS @ rotation + 0.7, CELL @ rotation, True, SYMBOLS)["energy"]
    np.testing.assert_allclose(turned, expected, atol=1e-10)
    double = np.concatenate([POSITIONS, POSITIONS + CELL[1]])
    twice = potential.evaluate(double, CELL * np.array([[1], [2], [1]]), True, SYMBOLS * 2)["energy"]
    np.testing.assert_allclose(twice, 2 * expected, atol=1e-10)
    potential.save(tmp_path / "bonds.jaxff")
    loaded = Potential.load(tmp_path / "bonds.jaxff")
    assert loaded.evaluate(POSITIONS, CELL, True, SYMBOLS)["energy"] == expected


def test_a_bond_breaks_smoothly():
    """Pulling two atoms apart through the bond cutoff: energy and force arrive at zero together."""
    potential = bond_potential("chebyshev")
    alone = potential.evaluate(np.zeros((1, 3)), np.zeros((3, 3)), False, ["Si"])["energy"]

    def pulled(r):
        return potential.evaluate(np.array([[0.0, 0, 0], [0, 0, r]]), np.zeros((3, 3)), False, ["Si", "Si"])

    before, after = pulled(2.6 - 1e-4), pulled(2.6 + 1e-4)
    assert after["energy"] == 2 * alone and not after["forces"].any()
    assert abs(before["energy"] - 2 * alone) < 1e-10 and np.abs(before["forces"]).max() < 1e-6
    assert np.abs(pulled(2.0)["forces"]).max() > 1e-3


def test_second_derivatives_are_finite():
    potential = bond_potential("ace")
    with jax.enable_x64(True):
        nb = neighborhood_of(POSITIONS, CELL, True, potential.species_of(SYMBOLS), 4.5)

        def force_norm(vectors):
            gradient = jax.grad(lambda v: jnp.sum(potential.energies(nb._replace(vectors=v))))(vectors)
            return jnp.sum(gradient**2)

        safe = jnp.where(nb.mask[..., None], nb.vectors, 1.0)
        assert np.isfinite(jax.grad(force_norm)(safe)).all()


def test_degenerate_environments_are_told_apart_from_bonds(shared_data):
    """Atom-centred GMP is blind to the 3-body pair (Pozdnyakov et al.); from the bonds' middles it is not."""
    from ase.io import read

    frames = [a for a in read(shared_data / "degenerate" / "degenerate_pairs.xyz.xz", ":") if "3body" in str(a.info)]
    assert len(frames) == 2
    settings = {"name": "gmp", "sigmas": [0.4, 0.8, 1.2]}
    gaps = {}
    for points in ("atoms", "bonds"):
        architecture = {"descriptor": settings, "reference_points": {"name": points}}
        model = build(architecture, tuple(sorted(set(frames[0].symbols))), 12.0)
        index = {e: n for n, e in enumerate(sorted(set(frames[0].symbols)))}
        with jax.enable_x64(True):
            rows = []
            for atoms in frames:
                species = np.array([index[s] for s in atoms.symbols])
                nb = neighborhood_of(atoms.positions, np.zeros((3, 3)), False, species, 12.0)
                rows.append(np.asarray(model.descriptor(nb))[0])
        gaps[points] = np.abs(rows[0] - rows[1]).max() / np.abs(rows[0]).max()
    assert gaps["atoms"] < 1e-8 < 1e-4 < gaps["bonds"], gaps


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_same_in_lammps(tmp_path, ranks):
    """Bonds across faces of a triclinic cell, and between ranks."""
    potential = bond_potential("gmp")
    potential.save(tmp_path / "bonds.jaxff")
    cell = np.diag([2.0, 2.0, 2.0]) @ CELL * np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    shifts = [np.array(s) @ (0.5 * cell) for s in np.ndindex(2, 2, 2)]
    positions = np.concatenate([POSITIONS + s for s in shifts])
    positions += np.random.default_rng(3).normal(scale=0.05, size=positions.shape)
    symbols = SYMBOLS * 8
    write_data(tmp_path / "case.data", positions, cell, 1 + potential.species_of(symbols), 2)
    pair = "pair_style jaxff precision double\npair_coeff * * bonds.jaxff Si O"
    script = EVALUATE.format(name="case", boundary="p p p", newton="on", processors=f"{ranks} 1 1", pair=pair)
    run_lammps(script, tmp_path, ranks)
    found, expected = read_evaluation(tmp_path, "case"), potential.evaluate(positions, cell, True, symbols)
    assert abs(found["energy"] - expected["energy"]) / len(positions) < 1e-9
    np.testing.assert_allclose(found["forces"], expected["forces"], atol=1e-8)
    volume = abs(np.linalg.det(cell))
    np.testing.assert_allclose(found["pressure"] * volume / BAR, -expected["virial"], atol=1e-7)


def test_bad_settings():
    for points, message in (
        ({"name": "corners"}, "unknown reference points 'corners'; choose from atoms, bonds, grid"),
        ({"name": "bonds", "bond_cutoff": 9.0}, "at most the cutoff, 5.0"),
        ({"name": "atoms", "bond_cutoff": 2.0}, "atoms has no setting bond_cutoff"),
    ):
        with pytest.raises(ConfigError, match=message):
            build({"reference_points": points}, ("Si",), 5.0)


def test_the_documented_way_to_add_another_kind():
    """The example in docs/descriptors.md, run as it stands."""
    from jax_models.reference_points import REFERENCE_POINTS

    page = (Path(__file__).resolve().parents[1] / "docs" / "descriptors.md").read_text()
    code = page.split("### Another kind of point")[1].split("```python")[1].split("```")[0]
    try:
        exec(compile(code, "docs/descriptors.md", "exec"), {})
        architecture = {
            "descriptor": {"name": "chebyshev", "radial_n": 3, "angular_n": 3},
            "reference_points": "centroids",
        }
        potential = make_potential(("Si", "O"), 4.5, architecture=architecture)
        result = potential.evaluate(POSITIONS, CELL, True, SYMBOLS)
        step = 1e-5 * np.random.default_rng(0).normal(size=POSITIONS.shape)
        ends = [potential.evaluate(POSITIONS + s * step, CELL, True, SYMBOLS)["energy"] for s in (1, -1)]
        np.testing.assert_allclose(-np.sum(result["forces"] * step), (ends[0] - ends[1]) / 2, rtol=1e-5)
        assert np.abs(result["forces"]).max() > 1e-3
    finally:
        REFERENCE_POINTS.pop("centroids", None)
