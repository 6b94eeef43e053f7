"""SchNet: continuous-filter convolutions (Schütt et al., J. Chem. Phys. 148, 241722; names as in SchNetPack)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_models.interfaces import Prior
from jax_models.message_passing.edges import check_cutoff_fn, distances, envelope, gaussians
from jax_models.message_passing.network import Dense, MessagePassing, check_range
from jax_models.neighborhood import Neighborhood


def shifted_softplus(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """ln(1 + exp x) - ln 2, which is 0 at 0."""
    return jax.nn.softplus(x) - math.log(2.0)


class Interaction(eqx.Module):
    """x_i + f2out(sum_j in2f(x_j) W(r_ij)): one continuous-filter convolution."""

    in2f: Dense
    filter_network: tuple[Dense, Dense]
    f2out: tuple[Dense, Dense]

    def __init__(self, n_atom_basis: int, n_rbf: int, n_filters: int, *, key: Array):
        keys = jax.random.split(key, 5)
        self.in2f = Dense(n_atom_basis, n_filters, key=keys[0], bias=False)
        self.filter_network = (Dense(n_rbf, n_filters, key=keys[1]), Dense(n_filters, n_filters, key=keys[2]))
        self.f2out = (Dense(n_filters, n_atom_basis, key=keys[3]), Dense(n_atom_basis, n_atom_basis, key=keys[4]))

    def filters(self, rbf: Float[Array, "*n R"]) -> Float[Array, "*n F2"]:
        return self.filter_network[1](shifted_softplus(self.filter_network[0](rbf)))

    def __call__(self, x, received, filters):
        summed = jnp.sum(received * filters, axis=1)
        return x + self.f2out[1](shifted_softplus(self.f2out[0](summed)))


class SchNet(MessagePassing):
    """Invariant features, refined by sums over neighbours with learned radial filters.

    Args:
        elements: chemical symbols.
        cutoff: Å.
        n_atom_basis: features of an atom.
        n_interactions: layers.
        n_rbf: Gaussians of the distance.
        n_filters: channels of a convolution; 0 means ``n_atom_basis``.
        cutoff_fn: "polynomial", or "cosine" as published.
        priors: physics added to the network.
        key: seeds the weights.

    Raises:
        ConfigError: a setting is outside its range.
    """

    embedding: Float[Array, "S F"]
    interactions: list[Interaction]
    output: tuple[Dense, Dense]
    n_rbf: int = eqx.field(static=True)
    cutoff_fn: str = eqx.field(static=True)

    defaults: ClassVar[dict] = {
        "n_atom_basis": 64,
        "n_interactions": 3,
        "n_rbf": 20,
        "n_filters": 0,
        "cutoff_fn": "polynomial",
    }

    def __init__(
        self,
        elements: tuple[str, ...],
        cutoff: float,
        *,
        n_atom_basis: int = 64,
        n_interactions: int = 3,
        n_rbf: int = 20,
        n_filters: int = 0,
        cutoff_fn: str = "polynomial",
        priors: Sequence[Prior] = (),
        key: Array,
    ):
        check_range(
            "schnet",
            n_atom_basis=(n_atom_basis, 2, 1024),
            n_interactions=(n_interactions, 1, 12),
            n_rbf=(n_rbf, 2, 512),
            n_filters=(n_filters, 0, 1024),
        )
        check_cutoff_fn("schnet", cutoff_fn)
        keys = jax.random.split(key, n_interactions + 3)
        self.embedding = jax.random.normal(keys[0], (len(elements), n_atom_basis))
        self.interactions = [Interaction(n_atom_basis, n_rbf, n_filters or n_atom_basis, key=k) for k in keys[3:]]
        self.output = (Dense(n_atom_basis, n_atom_basis // 2, key=keys[1]), Dense(n_atom_basis // 2, 1, key=keys[2]))
        self.cutoff, self.n_rbf, self.cutoff_fn = cutoff, n_rbf, cutoff_fn
        self.energy_scale, self.neighbors_per_atom, self.priors = jnp.ones(()), jnp.ones(()), list(priors)
        self.radial_tables = None

    @property
    def n_layers(self) -> int:
        return len(self.interactions)

    def head(self) -> Dense:
        return self.output[1]

    def features(self, own: Float[Array, "N F"]) -> Float[Array, "N F"]:
        return own

    def radial_functions(self, t: int, r: Float[Array, "*n"]) -> Float[Array, "*n F2"]:
        filters = self.interactions[t].filters(gaussians(r, self.n_rbf, self.cutoff))
        return filters * envelope(r, self.cutoff, self.cutoff_fn)[..., None]

    def first_layer(self, neighborhood: Neighborhood) -> tuple[Float[Array, "N F"], Float[Array, " N"]]:
        # In the table of elements rather than neighbour by neighbour: there are few rows in it.
        received = self.message(0, self.embedding)[neighborhood.neighbor_species]
        return self.layer(0, neighborhood, self.embedding[neighborhood.species], received)

    def message(self, t: int, own: Float[Array, "N F"]) -> Float[Array, "N F2"]:
        return self.interactions[t].in2f(own)

    def layer(self, t, neighborhood, own, received):
        filters = self.radial(t, distances(neighborhood), neighborhood.mask)
        own = self.interactions[t](own, received, filters)
        if t < self.n_layers - 1:
            return own, jnp.zeros(own.shape[0], own.dtype)
        return own, self.output[1](shifted_softplus(self.output[0](own)))[:, 0]
