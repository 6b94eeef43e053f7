"""Symmetry functions: DScribe's numbers, what every descriptor promises, the systematic grids, bad settings."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from descriptor_invariants import check_descriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_models import ConfigError
from jax_models.derivatives import energies_and_gradient
from jax_models.descriptors.acsf import ACSF, centred_gaussians, shifted_gaussians
from jax_models.neighborhood import Neighborhood, neighborhood_of

EVERYTHING = {
    "g2_params": [[0.5, 1.0], [0.2, 0.0], [4.0, 3.0]],
    "g3_params": [0.7, 2.0],
    "g4_params": [[0.05, 1, 1], [0.02, 2.5, -1], [0.05, 8, 0.5]],
    "g5_params": [[0.03, 4, 1], [0.0, 1, -1]],
}


def features_of(atoms, symbols, cutoff, **parameters):
    with jax.enable_x64(True):
        species = np.array([symbols.index(s) for s in atoms.get_chemical_symbols()])
        nb = neighborhood_of(atoms.positions, atoms.cell.array, atoms.pbc, species, cutoff)
        return np.asarray(jax.jit(ACSF(len(symbols), cutoff, **parameters))(nb))


@pytest.mark.parametrize("symbols", [["Si"], ["O", "Si"], ["C", "O", "Si"]])
@pytest.mark.parametrize("cutoff", [4.0, 5.1])
def test_same_numbers_as_dscribe(symbols, cutoff):
    dscribe = pytest.importorskip("dscribe.descriptors", reason="DScribe is not installed")
    from ase.build import bulk

    atoms = bulk("Si", cubic=True) * (1, 2, 1)
    atoms.rattle(0.2, seed=1)
    atoms.symbols = [symbols[i % len(symbols)] for i in range(len(atoms))]
    for structure in (atoms, atoms[:7]):
        structure.pbc = structure is atoms
        reference = dscribe.ACSF(r_cut=cutoff, species=symbols, periodic=bool(structure.pbc.any()), **EVERYTHING)
        ours = features_of(structure, symbols, cutoff, **EVERYTHING)
        expected = reference.create(structure)
        assert ours.shape == expected.shape
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_what_every_descriptor_promises():
    few = {"g2_params": [[0.5, 1.0]], "g3_params": [0.7], "g4_params": [[0.05, 2.5, -1]], "g5_params": [[0.03, 1, 1]]}
    check_descriptor(lambda elements, cutoff: ACSF(elements, cutoff, **few), smooth_order=1)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.sampled_from([1, 2, 5, 6]))
def test_the_order_of_neighbours_and_the_padding_do_not_matter(seed, n):
    """Pairs meet around a circle of places: an odd or even number of them, filled in any order, must not show."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(1, n, 3)) * 2
    kinds = generator.integers(0, 2, (1, n)).astype(np.int32)
    center = np.zeros(1, np.int32)
    with jax.enable_x64(True):
        descriptor = ACSF(2, 4.5, **EVERYTHING)
        expected = np.asarray(descriptor(Neighborhood(vectors, center, kinds, np.ones((1, n), bool))))
        width = n + 3
        places = generator.permutation(width)[:n]
        spread, spread_kinds, mask = np.ones((1, width, 3)), np.zeros((1, width), np.int32), np.zeros((1, width), bool)
        spread[:, places], spread_kinds[:, places], mask[:, places] = vectors, kinds, True
        found = np.asarray(descriptor(Neighborhood(spread, center, spread_kinds, mask)))
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_collinear_and_coinciding_neighbours_have_finite_derivatives():
    line = np.array([[[0, 0, 2.0], [0, 0, -2.0], [0, 0, 3.0], [0, 0, 3.0]]])
    nb = Neighborhood(line, np.zeros(1, np.int32), np.zeros((1, 4), np.int32), np.ones((1, 4), bool))
    with jax.enable_x64(True):
        values, gradient = energies_and_gradient(lambda n: ACSF(1, 5.0, **EVERYTHING)(n).sum(axis=1), nb)
    assert np.isfinite(values).all() and np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient[..., :2], 0.0, atol=1e-12)


def test_grids_are_gasteggers():
    """eta = 0.5/r_i^2 at mu = 0, and eta = 0.5/step^2 at mu = r_i, with r from 0.5 Å to the cutoff less 1 Å."""
    radii = [0.5, 1.25, 2.0, 2.75, 3.5]
    np.testing.assert_allclose(centred_gaussians(4.5, 5), [(0.5 / r**2, 0.0) for r in radii])
    np.testing.assert_allclose(shifted_gaussians(4.5, 5), [(0.5 / 0.75**2, r) for r in radii])
    descriptor = ACSF(3, 5.0)
    assert descriptor.n_features == 3 * (1 + 12) + 6 * 16


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"g2_params": [[1.0]]}, "eta, mu"),
        ({"g2_params": [1.0, 2.0]}, "eta, mu"),
        ({"g4_params": [[0.1, 0.5, 1]]}, "zeta"),
        ({"g5_params": [[0.1, 1, 2]]}, "lambda"),
        ({"g2_params": [[-1.0, 0.0]]}, "negative"),
        ({"g3_params": [float("nan")]}, "kappa"),
    ],
)
def test_bad_parameters_are_named(parameters, named):
    with pytest.raises(ConfigError, match=named):
        ACSF(1, 5.0, **parameters)


def test_no_default_grid_in_a_tiny_cutoff():
    with pytest.raises(ConfigError, match="1.6"):
        ACSF(1, 1.5)
