"""Readouts and ZBL against their formulas, one atom at a time."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_models import ConfigError
from jax_models.models import build
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"outer": 4.5}, r"outer of Si-Si is 4.5 Å, beyond the cutoff of 4.0 Å"),
        ({"outer": {"Si-O": 4.5}}, r"outer of O-Si is 4.5 Å, beyond the cutoff of 4.0 Å"),
        ({"inner": {"O-O": 5.0}, "outer": 2.0}, r"inner of O-O is 5.0 Å, beyond the cutoff of 4.0 Å"),
        ({"inner": 2.0, "outer": 1.5}, r"inner of Si-Si is 2.0 Å, above its outer of 1.5 Å"),
        ({"inner": {"O-Si": -1.0}}, "inner of O-Si is -1.0; it must be a positive distance"),
        ({"outer": {"Si": 2.0}}, "outer names 'Si', which is no pair of elements"),
        ({"outer": {"Si-Xx": 2.0}}, "outer names 'Si-Xx', which is no pair of elements"),
    ],
)
def test_zbl_beyond_what_the_model_sees_is_refused(settings, message):
    """At an outer distance beyond the cutoff the energy would jump where a neighbour goes out of sight."""
    with pytest.raises(ConfigError, match=message):
        build({"priors": [{"name": "zbl", **settings}]}, ("Si", "O"), 4.0)


def test_zbl_of_pairs_that_are_not_named_fits_the_cutoff():
    zbl = ZBL(("O", "Cs"), 3.0, inner={"O-Cs": 1.0}, outer={"O-O": 0.5})
    assert zbl.inner[0][0] == 0.5  # what fits into its outer, less than 0.8 of two radii
    assert (zbl.inner[0][1], zbl.outer[0][1]) == (zbl.inner[1][0], zbl.outer[1][0]) == (1.0, 1.25)
    assert (zbl.inner[1][1], zbl.outer[1][1]) == (2.4, 3.0)  # 0.8 of two radii would be 3.9
    assert zbl.inner[0][0] <= zbl.outer[0][0]


def test_zbl_of_each_pair_has_its_own_distance():
    outers = {"H-H": 0.7, "H-O": 1.1, "O-O": 1.9}
    zbl = ZBL(("O", "H"), 4.0, outer=outers)
    distances = np.array([[0.6, 1.0, 1.5]])
    vectors = distances[..., None] * np.array([0.0, 0.6, 0.8])
    with jax.enable_x64(True):
        for center, z_i in enumerate((8, 1)):
            for neighbor, z_j in enumerate((8, 1)):
                kinds = np.full((1, 3), neighbor, np.int32)
                nb = Neighborhood(vectors, np.full(1, center, np.int32), kinds, np.ones((1, 3), bool))
                outer = outers["-".join(sorted(("OH"[center], "OH"[neighbor])))]
                expected = sum(zbl_pair(z_i, z_j, r, outer) for r in distances[0])
                np.testing.assert_allclose(zbl(nb)[0], expected, rtol=1e-12)


def test_what_the_learned_part_sees_of_close_pairs():
    """The vectors of data are left alone to the last bit; shorter ones get longer, with two continuous derivatives."""
    zbl = ZBL(("Si",), 5.0, inner=2.0, outer=2.5)

    def length(r):
        nb = Neighborhood(
            jnp.array([0.0, 0.6, 0.8]) * jnp.reshape(r, (1, 1, 1)), np.zeros(1, np.int32), np.zeros((1, 1), np.int32),
            np.ones((1, 1), bool),
        )  # fmt: skip
        seen = zbl.lengthened(nb).vectors[0, 0]
        return seen @ jnp.array([0.0, 0.6, 0.8])

    with jax.enable_x64(True):
        for r in (2.0, 2.3, 4.9):
            assert float(length(r)) == pytest.approx(r, rel=1e-15)
        for r in (1e-3, 0.3, 1.0, 1.39):
            assert float(length(r)) == pytest.approx(1.7)
        for edge in (1.4, 2.0):
            for derivative in (length, jax.grad(length), jax.grad(jax.grad(length))):
                assert float(derivative(edge - 1e-7)) == pytest.approx(float(derivative(edge + 1e-7)), abs=1e-5)
        slopes = [jax.grad(length)(r) for r in np.linspace(0.5, 2.5, 50)]
        assert min(slopes) > -1e-12
        assert max(slopes) < 1.0 + 1e-12
