"""PaiNN: scalars and vectors that exchange messages (Schütt, Unke, Gastegger, ICML 2021; names as in SchNetPack)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_models.interfaces import Prior
from jax_models.message_passing.edges import bessel, check_cutoff_fn, distances, envelope
from jax_models.message_passing.network import Dense, MessagePassing, check_range
from jax_models.neighborhood import Neighborhood

EPSILON = 1e-8
"""Under the root of a vector's norm, which is zero in a symmetric environment."""


class Interaction(eqx.Module):
    """Message block: what atoms send, and the filters of one layer."""

    interatomic_context_net: tuple[Dense, Dense]
    filter_net: Dense

    def __init__(self, n: int, n_rbf: int, *, key: Array):
        keys = jax.random.split(key, 3)
        self.interatomic_context_net = (Dense(n, n, key=keys[0]), Dense(n, 3 * n, key=keys[1]))
        self.filter_net = Dense(n_rbf, 3 * n, key=keys[2])

    def context(self, q: Float[Array, "N F"]) -> Float[Array, "N 3F"]:
        return self.interatomic_context_net[1](jax.nn.silu(self.interatomic_context_net[0](q)))


class Mixing(eqx.Module):
    """Update block: scalars and vectors of one atom mix."""

    mu_channel_mix: Dense
    intraatomic_context_net: tuple[Dense, Dense]

    def __init__(self, n: int, *, key: Array):
        keys = jax.random.split(key, 3)
        self.mu_channel_mix = Dense(n, 2 * n, key=keys[0], bias=False)
        self.intraatomic_context_net = (Dense(2 * n, n, key=keys[1]), Dense(n, 3 * n, key=keys[2]))

    def __call__(
        self, q: Float[Array, "N F"], mu: Float[Array, "N 3 F"]
    ) -> tuple[Float[Array, "N F"], Float[Array, "N 3 F"]]:
        v, w = jnp.split(self.mu_channel_mix(mu), 2, axis=-1)
        norm = jnp.sqrt(jnp.sum(v * v, axis=1) + EPSILON)
        x = self.intraatomic_context_net[0](jnp.concatenate([q, norm], axis=-1))
        dq, dmu, dqmu = jnp.split(self.intraatomic_context_net[1](jax.nn.silu(x)), 3, axis=-1)
        return q + dq + dqmu * jnp.sum(v * w, axis=1), mu + dmu[:, None] * w


class PaiNN(MessagePassing):
    """Scalar features q and vector features mu of each atom; filters are linear in a Bessel basis of the distance.

    Args:
        elements: chemical symbols.
        cutoff: Å.
        n_atom_basis: scalars, and vectors, of an atom.
        n_interactions: layers.
        n_rbf: Bessel functions of the distance.
        cutoff_fn: "polynomial", or "cosine" as published.
        priors: physics added to the network.
        key: seeds the weights.

    Raises:
        ConfigError: a setting is outside its range.
    """

    embedding: Float[Array, "S F"]
    interactions: list[Interaction]
    mixing: list[Mixing]
    output: tuple[Dense, Dense]
    n_rbf: int = eqx.field(static=True)
    cutoff_fn: str = eqx.field(static=True)

    defaults: ClassVar[dict] = {"n_atom_basis": 64, "n_interactions": 3, "n_rbf": 20, "cutoff_fn": "polynomial"}

    def __init__(
        self,
        elements: tuple[str, ...],
        cutoff: float,
        *,
        n_atom_basis: int = 64,
        n_interactions: int = 3,
        n_rbf: int = 20,
        cutoff_fn: str = "polynomial",
        priors: Sequence[Prior] = (),
        key: Array,
    ):
        check_range(
            "painn", n_atom_basis=(n_atom_basis, 2, 1024), n_interactions=(n_interactions, 1, 12), n_rbf=(n_rbf, 1, 512)
        )
        check_cutoff_fn("painn", cutoff_fn)
        keys = jax.random.split(key, 2 * n_interactions + 3)
        n = n_atom_basis
        self.embedding = jax.random.normal(keys[0], (len(elements), n))
        self.output = (Dense(n, n // 2, key=keys[1]), Dense(n // 2, 1, key=keys[2]))
        self.interactions = [Interaction(n, n_rbf, key=k) for k in keys[3 : 3 + n_interactions]]
        self.mixing = [Mixing(n, key=k) for k in keys[3 + n_interactions :]]
        self.cutoff, self.n_rbf, self.cutoff_fn = cutoff, n_rbf, cutoff_fn
        self.energy_scale, self.neighbors_per_atom, self.priors = jnp.ones(()), jnp.ones(()), list(priors)
        self.radial_tables = None

    @property
    def n_layers(self) -> int:
        return len(self.interactions)

    def head(self) -> Dense:
        return self.output[1]

    def first_layer(self, neighborhood: Neighborhood):
        n = self.embedding.shape[1]
        context = self.interactions[0].context(self.embedding)[
            :, : 2 * n
        ]  # its last part would multiply vectors, still zero
        q = self.embedding[neighborhood.species]
        mu = jnp.zeros((q.shape[0], 3, n), q.dtype)
        filters, direction = self._filters(0, neighborhood)
        dq, radial = jnp.split(context[neighborhood.neighbor_species] * filters, 2, axis=-1)
        return self._update(0, q + jnp.sum(dq, axis=1), mu + jnp.einsum("nkf,nka->naf", radial, direction))

    def message(self, t: int, own) -> Float[Array, "N 6F"]:
        q, mu = own
        return jnp.concatenate([self.interactions[t].context(q), mu.reshape(mu.shape[0], -1)], axis=-1)

    def layer(self, t, neighborhood, own, received):
        q, mu = own
        n = q.shape[-1]
        filters, direction = self._filters(t, neighborhood)
        dq, radial, carried = jnp.split(received[..., : 3 * n] * filters, 3, axis=-1)
        mu_j = received[..., 3 * n :].reshape(*received.shape[:2], 3, n)
        mu = mu + jnp.einsum("nkf,nka->naf", radial, direction) + jnp.sum(carried[:, :, None] * mu_j, axis=1)
        return self._update(t, q + jnp.sum(dq, axis=1), mu)

    def features(self, own) -> Float[Array, "N F"]:
        return own[0]

    def radial_functions(self, t: int, r: Float[Array, "*n"]) -> Float[Array, "*n C"]:
        net, n = self.interactions[t].filter_net, self.embedding.shape[1]
        used = 3 * n if t else 2 * n
        filters = bessel(r, self.n_rbf, self.cutoff) @ net.weights[:, :used]
        if net.bias is not None:
            filters = filters + net.bias[:used]
        return filters * envelope(r, self.cutoff, self.cutoff_fn)[..., None]

    def _filters(self, t: int, neighborhood: Neighborhood) -> tuple[Float[Array, "N K F"], Float[Array, "N K 3"]]:
        r = distances(neighborhood)
        return self.radial(t, r, neighborhood.mask), neighborhood.vectors / r[..., None]

    def _update(self, t: int, q: Float[Array, "N F"], mu: Float[Array, "N 3 F"]):
        q, mu = self.mixing[t](q, mu)
        if t < self.n_layers - 1:
            return (q, mu), jnp.zeros(q.shape[0], q.dtype)
        return (q, mu), self.output[1](jax.nn.silu(self.output[0](q)))[:, 0]
