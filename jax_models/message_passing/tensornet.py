"""TensorNet: a 3x3 matrix for each channel of an atom (Simeon, De Fabritiis, NeurIPS 2023; blocks as in matgl).

A matrix is the sum of a multiple of the identity, an antisymmetric and a symmetric traceless one: 1 + 3 + 5 numbers,
which are what is stored, mixed and sent. Only the products of matrices, which are work for each atom, need all nine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.interfaces import Prior
from jax_models.message_passing.cartesian import (
    PARTS,
    anticommutator,
    mix,
    norms,
    of_direction,
    scale,
    square,
    weighted_sum,
)
from jax_models.message_passing.edges import check_cutoff_fn, distances, envelope, smooth_bessel
from jax_models.message_passing.network import Dense, MessagePassing, check_range, dense_weights
from jax_models.neighborhood import Neighborhood

LAYER_NORM_EPSILON = 1e-5


class LayerNorm(eqx.Module):
    """Mean 0 and variance 1 over the last axis, then a weight and a bias each."""

    weights: Float[Array, " F"]
    bias: Float[Array, " F"]

    def __init__(self, n: int):
        self.weights, self.bias = jnp.ones(n), jnp.zeros(n)

    def __call__(self, x: Float[Array, "*n F"]) -> Float[Array, "*n F"]:
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
        return centred * jax.lax.rsqrt(variance + LAYER_NORM_EPSILON) * self.weights + self.bias


def chain(layers: Sequence[Dense], x: Float[Array, "*n In"]) -> Float[Array, "*n Out"]:
    """Dense layers, each with SiLU after it."""
    for layer in layers:
        x = jax.nn.silu(layer(x))
    return x


class Embedding(eqx.Module):
    """Matrices from the elements and directions of the neighbours."""

    elements: Float[Array, "S C"]
    pair: Dense
    """Of the embeddings of an atom and its neighbour, in this order."""
    distance: Dense
    """Radial functions of the three parts, one part after the other."""
    mixing: list[Float[Array, "C C"]]
    norm: LayerNorm
    gates: list[Dense]
    """The last gives a factor for each part and channel, one part after the other."""

    def __init__(self, elements: int, n: int, n_rbf: int, *, key: Array):
        keys = jax.random.split(key, 8)
        self.elements = jax.random.normal(keys[0], (elements, n))
        self.pair, self.distance = Dense(2 * n, n, key=keys[1]), Dense(n_rbf, 3 * n, key=keys[2])
        self.mixing = [dense_weights(k, n, n) for k in keys[3:6]]
        self.norm = LayerNorm(n)
        self.gates = [Dense(n, 2 * n, key=keys[6]), Dense(2 * n, 3 * n, key=keys[7])]

    def __call__(self, neighborhood: Neighborhood, radial: Float[Array, "N K Q"], unit: Float[Array, "N K 3"]):
        # Radial functions are mixed after the sum, so that a neighbour costs its elements x radial functions x 9.
        n_elements, n = self.elements.shape
        element = jax.nn.one_hot(neighborhood.neighbor_species, n_elements, dtype=radial.dtype)
        by_element = (element[..., None] * radial[:, :, None]).reshape(*radial.shape[:2], -1)
        density = jnp.einsum("nkx,nkm->nxm", by_element, of_direction(unit))
        density = density.reshape(density.shape[0], n_elements, -1, 9)
        biases: Any = self.pair.bias, self.distance.bias
        own, others = self.elements @ self.pair.weights[:n] + biases[0], self.elements @ self.pair.weights[n:]
        of_pairs = jnp.einsum("nsqm,sc->nqmc", density, others)
        of_pairs = of_pairs + jnp.sum(density, axis=1)[..., None] * own[neighborhood.species][:, None, None]
        radial_weights = jnp.concatenate([self.distance.weights, biases[1][None]]).reshape(-1, 3, n)
        x = jnp.sum(of_pairs * jnp.repeat(radial_weights, np.array(PARTS), axis=1, total_repeat_length=9), axis=1)
        gates = chain(self.gates, self.norm(jnp.sum(x * x, axis=1)))
        return scale(gates.reshape(-1, 3, n), mix(x, self.mixing))


class Interaction(eqx.Module):
    """Neighbours' matrices, multiplied with an atom's own after their sum."""

    radial: list[Dense]
    """From the radial basis to a factor for each part and channel, one part after the other."""
    before: list[Float[Array, "C C"]]
    after: list[Float[Array, "C C"]]

    def __init__(self, n: int, n_rbf: int, *, key: Array):
        keys = jax.random.split(key, 9)
        sizes = ((n_rbf, n), (n, 2 * n), (2 * n, 3 * n))
        self.radial = [Dense(i, o, key=k) for (i, o), k in zip(sizes, keys, strict=False)]
        self.before = [dense_weights(k, n, n) for k in keys[3:6]]
        self.after = [dense_weights(k, n, n) for k in keys[6:]]

    def normalised_and_sent(self, x: Float[Array, "N 9 C"]) -> tuple[Float[Array, "N 9 C"], Float[Array, "N 9 C"]]:
        x = x / (1.0 + jnp.sum(x * x, axis=1, keepdims=True))
        return x, mix(x, self.before)

    def __call__(
        self, x: Float[Array, "N 9 C"], sent: Float[Array, "N 9 C"], summed: Float[Array, "N 9 C"]
    ) -> Float[Array, "N 9 C"]:
        product = anticommutator(sent, summed)
        change = mix(product / (1.0 + jnp.sum(product * product, axis=1, keepdims=True)), self.after)
        return x + change + square(change)


class Readout(eqx.Module):
    """Norms of the parts -> features -> energy, times a gate."""

    norm: LayerNorm
    features: Dense
    values: list[Dense]
    gates: list[Dense]
    last: Dense
    last_gate: Dense

    def __init__(self, n: int, *, key: Array):
        keys = jax.random.split(key, 9)
        self.norm, self.features = LayerNorm(3 * n), Dense(3 * n, n, key=keys[0])
        self.values = [Dense(n, n, key=k) for k in keys[1:4]]
        self.gates = [Dense(n, n, key=k) for k in keys[4:7]]
        self.last, self.last_gate = Dense(n, 1, key=keys[7]), Dense(n, 1, key=keys[8])

    def features_of(self, x: Float[Array, "N 9 C"]) -> Float[Array, "N C"]:
        return self.features(self.norm(norms(x).reshape(x.shape[0], -1)))

    def __call__(self, features: Float[Array, "N C"]) -> Float[Array, " N"]:
        gate = jax.nn.sigmoid(self.last_gate(chain(self.gates, features)))
        return (self.last(chain(self.values, features)) * gate)[:, 0]


class TensorNet(MessagePassing):
    """Matrices of each atom and channel, changed by products with the sum of their neighbours' (group O(3)).

    The embedding sees the neighbours' elements and is the first layer; each block is one more.

    Args:
        elements: chemical symbols.
        cutoff: Å, of one layer.
        units: matrices of an atom.
        nblocks: interaction blocks.
        n_rbf: smooth spherical Bessel functions of the distance (``max_n`` in matgl).
        cutoff_fn: "polynomial", or "cosine" as published.
        priors: physics added to the network.
        key: seeds the weights.

    Raises:
        ConfigError: a setting is outside its range.
    """

    embedding: Embedding
    blocks: list[Interaction]
    readout: Readout
    n_rbf: int = eqx.field(static=True)
    cutoff_fn: str = eqx.field(static=True)

    defaults: ClassVar[dict] = {"units": 32, "nblocks": 2, "n_rbf": 8, "cutoff_fn": "polynomial"}

    def __init__(
        self,
        elements: tuple[str, ...],
        cutoff: float,
        *,
        units: int = 32,
        nblocks: int = 2,
        n_rbf: int = 8,
        cutoff_fn: str = "polynomial",
        priors: Sequence[Prior] = (),
        key: Array,
    ):
        check_range("tensornet", units=(units, 1, 1024), nblocks=(nblocks, 0, 12), n_rbf=(n_rbf, 1, 128))
        check_cutoff_fn("tensornet", cutoff_fn)
        keys = jax.random.split(key, nblocks + 2)
        self.embedding = Embedding(len(elements), units, n_rbf, key=keys[0])
        self.readout = Readout(units, key=keys[1])
        self.blocks = [Interaction(units, n_rbf, key=k) for k in keys[2:]]
        self.cutoff, self.n_rbf, self.cutoff_fn = cutoff, n_rbf, cutoff_fn
        self.energy_scale, self.neighbors_per_atom, self.priors = jnp.ones(()), jnp.ones(()), list(priors)
        self.radial_tables = None

    @property
    def n_layers(self) -> int:
        return len(self.blocks) + 1

    def head(self) -> Dense:
        return self.readout.last

    def features(self, own: Float[Array, "N C"]) -> Float[Array, "N C"]:
        return own

    def radial_functions(self, t: int, r: Float[Array, "*n"]) -> Float[Array, "*n C"]:
        basis = smooth_bessel(r, self.n_rbf, self.cutoff)
        cutoff = envelope(r, self.cutoff, self.cutoff_fn)[..., None]
        if t == 0:
            return jnp.concatenate([basis, jnp.ones_like(basis[..., :1])], axis=-1) * cutoff
        return chain(self.blocks[t - 1].radial, basis) * cutoff

    def first_layer(self, neighborhood: Neighborhood):
        r = distances(neighborhood)
        radial = self.radial(0, r, neighborhood.mask)
        return self._update(0, self.embedding(neighborhood, radial, neighborhood.vectors / r[..., None]))

    def message(self, t: int, own: tuple[Array, Array]) -> Float[Array, "N 9C"]:
        return own[1].reshape(own[1].shape[0], -1)

    def layer(self, t, neighborhood, own, received):
        x, sent = own
        radial = self.radial(t, distances(neighborhood), neighborhood.mask)
        summed = weighted_sum(radial, received).reshape(sent.shape)
        return self._update(t, self.blocks[t - 1](x, sent, summed))

    def only(self, rows: Sequence[int]) -> TensorNet:
        """The network for the elements at ``rows`` alone."""
        priors = [prior.only(tuple(rows)) for prior in self.priors]
        elements = self.embedding.elements[np.asarray(rows)]
        return eqx.tree_at(lambda m: (m.embedding.elements, m.priors), self, (elements, priors))

    def _update(self, t: int, x: Float[Array, "N 9 C"]) -> tuple[Any, Float[Array, " N"]]:
        """Between two layers, the normalised matrices and what the next block sends; at the end, the features."""
        if t < self.n_layers - 1:
            return self.blocks[t].normalised_and_sent(x), jnp.zeros(x.shape[0], x.dtype)
        features = self.readout.features_of(x)
        return features, self.readout(features)
