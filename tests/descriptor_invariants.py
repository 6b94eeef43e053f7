"""What every descriptor promises: invariances, padding that changes nothing, smooth derivatives to second order."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jax_models.derivatives import energies_and_gradient
from jax_models.neighborhood import Neighborhood, neighborhood_of


def cluster(n=14, elements=1, cutoff=5.0, seed=0, box=4.5) -> Neighborhood:
    """A random cluster without close pairs, float64."""
    generator = np.random.default_rng(seed)
    positions = [generator.uniform(0, box, 3)]
    while len(positions) < n:
        trial = generator.uniform(0, box, 3)
        if min(np.linalg.norm(trial - p) for p in positions) > 1.3:
            positions.append(trial)
    return neighborhood_of(np.array(positions), np.zeros((3, 3)), False, np.arange(n) % elements, cutoff)


def rotated(neighborhood: Neighborhood, seed=1) -> Neighborhood:
    """The same environments turned, mirrored, and with each list of neighbours shuffled."""
    generator = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    order = generator.permutation(neighborhood.mask.shape[1])
    return Neighborhood(
        (neighborhood.vectors @ rotation.T)[:, order],
        neighborhood.species,
        neighborhood.neighbor_species[:, order],
        neighborhood.mask[:, order],
    )


def padded(neighborhood: Neighborhood, junk: float) -> Neighborhood:
    """Three more columns of padding, filled with ``junk``."""
    n = len(neighborhood.vectors)
    return Neighborhood(
        np.concatenate([neighborhood.vectors, np.full((n, 3, 3), junk)], axis=1),
        neighborhood.species,
        np.concatenate([neighborhood.neighbor_species, np.zeros((n, 3), np.int32)], axis=1),
        np.concatenate([neighborhood.mask, np.zeros((n, 3), bool)], axis=1),
    )


def check_descriptor(make, elements=2, cutoff=4.5, smooth_order=2, tolerance=1e-9) -> None:
    """``make(elements, cutoff)`` builds the descriptor; ``smooth_order`` continuous derivatives at the cutoff: 1 or
    2."""
    with jax.enable_x64(True):
        descriptor = make(elements, cutoff)
        neighborhood = cluster(elements=elements, cutoff=cutoff)
        features = np.asarray(eqx.filter_jit(descriptor)(neighborhood))
        assert features.shape == (len(neighborhood.vectors), descriptor.n_features)
        assert np.isfinite(features).all() and np.ptp(features, axis=0).max() > 0
        scale = np.abs(features).max(axis=0) + 1e-3
        close = dict(rtol=0, atol=tolerance)
        np.testing.assert_allclose(np.asarray(descriptor(rotated(neighborhood))) / scale, features / scale, **close)
        for junk in (0.0, 1.0, 1e3):
            np.testing.assert_allclose(
                np.asarray(descriptor(padded(neighborhood, junk))) / scale, features / scale, **close
            )
        _check_derivatives(descriptor, neighborhood, scale)
        _check_cutoff(descriptor, neighborhood, scale, cutoff, smooth_order)
        _check_odd_places(descriptor, elements)
        single = descriptor(neighborhood._replace(vectors=neighborhood.vectors.astype(np.float32)))
        assert single.dtype == jnp.float32
        np.testing.assert_allclose(np.asarray(single) / scale, features / scale, rtol=0, atol=2e-4)


def _energy(descriptor, scale):
    def energies(neighborhood):
        features = descriptor(neighborhood)
        scaled = features * jnp.linspace(0.3, 1.0, features.shape[1]).astype(features.dtype) / scale
        return jnp.sum(scaled, axis=1) + 0.1 * jnp.sum(jnp.tanh(scaled), axis=1)

    return energies


def _check_derivatives(descriptor, neighborhood, scale) -> None:
    energies = _energy(descriptor, scale)
    generator = np.random.default_rng(2)
    direction = generator.normal(size=neighborhood.vectors.shape) * neighborhood.mask[..., None]

    def total(t):
        return jnp.sum(energies(neighborhood._replace(vectors=neighborhood.vectors + t * direction)))

    _, gradient = energies_and_gradient(energies, neighborhood)
    step = 1e-5
    numerical = (total(step) - total(-step)) / (2 * step)
    np.testing.assert_allclose(np.sum(np.asarray(gradient) * direction), numerical, rtol=1e-6, atol=1e-7)
    slope = jax.grad(total)
    second = jax.grad(slope)(0.0)
    np.testing.assert_allclose(second, (slope(step) - slope(-step)) / (2 * step), rtol=1e-5, atol=1e-6)


def _check_cutoff(descriptor, neighborhood, scale, cutoff, smooth_order) -> None:
    """A neighbour that leaves takes nothing with it: value, slope and (order 2) curvature go to zero before it does."""
    energies = _energy(descriptor, scale)
    row = Neighborhood(*(np.asarray(field[:1]) for field in neighborhood[:4]))
    row = padded(row, 0.0)
    row.mask[0, -1] = True

    def moved(r):
        return energies(row._replace(vectors=jnp.asarray(row.vectors).at[0, -1].set(jnp.array([0.6, 0.0, 0.8]) * r)))[0]

    gone = energies(row._replace(mask=np.concatenate([row.mask[:, :-1], [[False]]], axis=1)))[0]
    edge = cutoff * (1 - 1e-7)
    inside = moved(0.7 * cutoff) - gone
    assert abs(moved(edge) - gone) < 1e-5 * max(1.0, abs(inside))
    first = jax.grad(moved)
    assert abs(first(edge)) < 1e-4 * max(1.0, abs(first(0.7 * cutoff)))
    if smooth_order == 2:
        second = jax.grad(first)
        assert abs(second(edge)) < 1e-3 * max(1.0, abs(second(0.7 * cutoff)))


def _check_odd_places(descriptor, elements) -> None:
    """No neighbours at all, and a neighbour on top of the point: numbers and derivatives stay finite."""
    vectors = np.zeros((2, 4, 3))
    vectors[1, 1] = [0.0, 0.0, 2.0]
    vectors[1, 2] = [0.0, 0.0, -2.0]  # collinear
    mask = np.array([[False] * 4, [True, True, True, False]])
    empty = Neighborhood(vectors, np.zeros(2, np.int32), np.full((2, 4), elements - 1, np.int32), mask)
    for dtype in (np.float64, np.float32):
        values, gradient = energies_and_gradient(
            _energy(descriptor, 1.0), empty._replace(vectors=vectors.astype(dtype))
        )
        assert np.isfinite(values).all() and np.isfinite(gradient).all()
