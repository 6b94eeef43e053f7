"""Readouts and ZBL against their formulas, one atom at a time."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_models import ConfigError
from jax_models.neighborhood import Neighborhood
from jax_models.priors.zbl import ZBL
from jax_models.readouts import READOUTS


def filled(readout, seed=0):
    """Readouts start at zero; give every parameter a value."""
    generator = np.random.default_rng(seed)
    return jax.tree.map(
        lambda leaf: jnp.asarray(generator.normal(size=leaf.shape)) if eqx.is_array(leaf) else leaf, readout
    )


@pytest.mark.parametrize("elements", [1, 2, 5])
@pytest.mark.parametrize("hidden", [(7,), (6, 5, 4)])
def test_network_is_each_elements_own(elements, hidden):
    with jax.enable_x64(True):
        mlp = filled(READOUTS["mlp"](9, elements, hidden=hidden, activation="tanh", key=jax.random.PRNGKey(0)))
        features = np.random.default_rng(1).normal(size=(11, 9))
        species = np.arange(11) % elements
        energies = np.asarray(mlp(features, species))
    mlp = jax.tree.map(lambda leaf: np.asarray(leaf) if eqx.is_array(leaf) else leaf, mlp)
    for x, s, energy in zip(features, species, energies, strict=True):
        h = x
        for weight, bias in zip(mlp.weights[:-1], mlp.biases[:-1], strict=True):
            h = np.tanh(h @ weight[s] + bias[s])
        expected = h @ mlp.weights[-1][s][:, 0] + mlp.biases[-1][s, 0] + x @ mlp.linear.weights[s] + mlp.linear.bias[s]
        np.testing.assert_allclose(energy, expected, rtol=1e-12)


@pytest.mark.parametrize("elements", [1, 3])
def test_linear_is_each_elements_own(elements):
    with jax.enable_x64(True):
        linear = filled(READOUTS["linear"](4, elements))
        features = np.random.default_rng(1).normal(size=(7, 4))
        species = np.arange(7) % elements
        expected = [x @ linear.weights[s] + linear.bias[s] for x, s in zip(features, species, strict=True)]
        np.testing.assert_allclose(linear(features, species), expected, rtol=1e-12)


def test_bad_networks_are_refused():
    for settings in ({"hidden": ()}, {"hidden": (4, 0)}, {"activation": "relu6"}):
        with pytest.raises(ConfigError, match="mlp"):
            READOUTS["mlp"](4, 1, key=jax.random.PRNGKey(0), **settings)


def zbl_pair(z_i, z_j, r, outer):
    """The formula of LAMMPS's documentation, half a pair, with this prior's switch."""
    x = r * (z_i**0.23 + z_j**0.23) / 0.46850
    phi = (
        0.18175 * np.exp(-3.19980 * x)
        + 0.50986 * np.exp(-0.94229 * x)
        + 0.28022 * np.exp(-0.40290 * x)
        + 0.02817 * np.exp(-0.20162 * x)
    )
    return 0.5 * 14.399645 * z_i * z_j / r * phi * (1 - (r / outer) ** 2) ** 3 if r < outer else 0.0


def test_zbl_repulsion():
    distances = np.array([[0.3, 0.9, 1.49, 1.6, 3.0]])
    vectors = distances[..., None] * np.array([0.0, 0.6, 0.8])
    kinds = np.array([[0, 1, 1, 0, 0]], np.int32)
    with jax.enable_x64(True):
        for elements, numbers in ((("Si", "O"), (14, 8)), (("Cu",), (29, 29))):
            zbl = ZBL(elements, outer=1.5)
            nb = Neighborhood(vectors, np.zeros(1, np.int32), kinds * (len(elements) - 1), np.ones((1, 5), bool))
            expected = sum(
                zbl_pair(numbers[0], numbers[k], r, 1.5) for r, k in zip(distances[0], kinds[0], strict=True)
            )
            np.testing.assert_allclose(zbl(nb)[0], expected, rtol=1e-12)
            slope = jax.grad(lambda v, zbl=zbl, nb=nb: zbl(nb._replace(vectors=v))[0])(vectors)
            assert np.isfinite(slope).all()
            np.testing.assert_array_equal(slope[0, 3:], 0.0)


def test_zbl_needs_a_distance():
    with pytest.raises(ConfigError, match="outer"):
        ZBL(("Si",), outer=0.0)
