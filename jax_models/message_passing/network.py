"""What every message-passing network is: layers that see one cutoff each, and messages fetched between them.

A network is written layer by layer, so that an engine may stop between two layers and move features across MPI ranks.
The first layer needs only the elements of neighbours. Each later layer needs the neighbours' messages. Only one
operation couples atoms, the one that gets these messages: `gather_messages`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from jax_models.errors import ConfigError
from jax_models.interfaces import Prior
from jax_models.message_passing.radial_table import RadialTable, tabulate
from jax_models.neighborhood import Neighborhood
from jax_models.priors.zbl import split

Own = Any
"""A layer's result on its own centres: a pytree of arrays with the centre as first axis."""
Fetch = Callable[[Float[Array, "N F"]], Float[Array, "A F"]]


class MessagePassing(eqx.Module):
    """Base of the networks. A subclass gives `n_layers`, `radial_functions`, `first_layer`, `message`, `layer`,
    `features` and `head`.

    ``energy_scale`` (eV) multiplies the network's output, and ``neighbors_per_atom`` divides its sums over neighbours
    where the architecture asks for that; both are set from training data and are not trained.
    """

    kind: ClassVar[str] = "message_passing"

    cutoff: float = eqx.field(static=True)
    """Å, of one layer."""
    energy_scale: Float[Array, ""]
    neighbors_per_atom: Float[Array, ""]
    priors: list[Prior]
    radial_tables: list[RadialTable] | None

    @property
    def n_layers(self) -> int:
        raise NotImplementedError

    @property
    def radial_kink(self) -> float:
        """Å, where second derivatives of the radial functions jump; 0 where they do not, as in most networks."""
        return 0.0

    def radial_functions(self, t: int, r: Float[Array, "*n"]) -> Float[Array, "*n C"]:
        """What layer ``t`` makes of a distance alone (Å); zero, with its derivative, at the cutoff."""
        raise NotImplementedError

    def radial_width(self) -> int:
        """The largest number of radial functions that a layer has."""
        r = jax.ShapeDtypeStruct((1,), np.float32)
        functions = (functools.partial(self.radial_functions, t) for t in range(self.n_layers))
        return max(jax.eval_shape(function, r).shape[-1] for function in functions)

    def radial(self, t: int, r: Float[Array, "N K"], mask: Bool[Array, "N K"]) -> Float[Array, "N K C"]:
        """`radial_functions`, zero on padding."""
        if self.radial_tables is None:
            return jnp.where(mask[..., None], self.radial_functions(t, r), 0.0)
        return self.radial_tables[t](jnp.where(mask, r, jnp.inf))

    def tabulated(self) -> MessagePassing:
        """The network with its radial functions as tables, for evaluation in single precision."""
        with jax.enable_x64(True):
            double = jax.tree.map(
                lambda leaf: jnp.asarray(leaf, jnp.float64) if eqx.is_inexact_array(leaf) else leaf, self
            )
        functions = [functools.partial(double.radial_functions, t) for t in range(self.n_layers)]
        tables = [tabulate(function, self.cutoff, self.radial_kink) for function in functions]
        return eqx.tree_at(lambda m: m.radial_tables, self, tables, is_leaf=lambda leaf: leaf is None)

    def first_layer(self, neighborhood: Neighborhood) -> tuple[Own, Float[Array, " N"]]:
        """The first layer's result and its part of the network's output, from species and vectors alone."""
        raise NotImplementedError

    def message(self, t: int, own: Own) -> Float[Array, "N F"]:
        """What atoms show to their neighbours before layer ``t`` = 1, 2, ..."""
        raise NotImplementedError

    def layer(
        self, t: int, neighborhood: Neighborhood, own: Own, received: Float[Array, "N K F"]
    ) -> tuple[Own, Float[Array, " N"]]:
        """Layer ``t``'s result and its part of the output; ``received`` are the neighbours' messages."""
        raise NotImplementedError

    def head(self) -> PyTree[Array]:
        """The parameters in which the output is linear. The others are the trunk, which other heads may share."""
        raise NotImplementedError

    def features(self, own: Own) -> Float[Array, "N F"]:
        """Scalars of the last layer's result, from which the output is made."""
        raise NotImplementedError

    def scaled(self, output: Float[Array, " N"]) -> Float[Array, " N"]:
        """Output of one layer in eV."""
        return jax.lax.stop_gradient(self.energy_scale) * output

    def prior_energies(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        return sum(
            (prior(neighborhood) for prior in self.priors),
            jnp.zeros(neighborhood.species.shape, neighborhood.vectors.dtype),
        )

    def seen(self, neighborhood: Neighborhood) -> Neighborhood:
        """What the layers see of an environment, where priors keep the shortest distances from them."""
        return split(self.priors, neighborhood)[0]

    def energies(self, neighborhood: Neighborhood, fetch: Fetch = lambda messages: messages) -> Float[Array, " N"]:
        """Energy of each centre in eV.

        Args:
            neighborhood: its ``neighbors[N, K]`` index the rows of ``fetch``'s result.
            fetch: appends the messages of ghost atoms, from their owners, to those of the N centres; the identity
                where periodic images are folded to the atoms themselves.

        Raises:
            ConfigError: the neighborhood has no ``neighbors``.
        """
        return self.energies_and_features(neighborhood, fetch)[0]

    def energies_and_features(
        self, neighborhood: Neighborhood, fetch: Fetch = lambda messages: messages
    ) -> tuple[Float[Array, " N"], Float[Array, "N F"]]:
        """As `energies`, with the last layer's `features`."""
        if neighborhood.neighbors is None:
            raise ConfigError("a message-passing model needs Neighborhood.neighbors, the index of each neighbour")
        seen = self.seen(neighborhood)
        own, output = self.first_layer(seen)
        energy = self.scaled(output) + self.prior_energies(neighborhood)
        for t in range(1, self.n_layers):
            received = gather_messages(fetch(self.message(t, own)), neighborhood.neighbors)
            own, output = self.layer(t, seen, own, received)
            energy = energy + self.scaled(output)
        return energy, self.features(own)


def gather_messages(messages: Float[Array, "A F"], neighbors: Int[Array, "N K"]) -> Float[Array, "N K F"]:
    """Each neighbour's message. Its transpose adds gradients up on the atom they belong to."""
    return jnp.take(messages, neighbors, axis=0, mode="clip")


def dense_weights(key: Array, n_in: int, n_out: int) -> Float[Array, "In Out"]:
    """Glorot uniform (Glorot, Bengio, AISTATS 2010)."""
    limit = np.sqrt(6.0 / (n_in + n_out))
    return jax.random.uniform(key, (n_in, n_out), minval=-limit, maxval=limit)


class Dense(eqx.Module):
    """x @ weights + bias; the bias starts at zero, and is left out where ``bias`` is False."""

    weights: Float[Array, "In Out"]
    bias: Float[Array, " Out"] | None

    def __init__(self, n_in: int, n_out: int, *, key: Array, bias: bool = True):
        self.weights = dense_weights(key, n_in, n_out)
        self.bias = jnp.zeros(n_out) if bias else None

    def __call__(self, x: Float[Array, "*n In"]) -> Float[Array, "*n Out"]:
        y = x @ self.weights
        return y if self.bias is None else y + self.bias


def check_range(architecture: str, **settings: tuple[float, float, float]) -> None:
    """Refuse a setting outside its range; each is (value, lowest, highest).

    Raises:
        ConfigError: names the setting and what is allowed.
    """
    for name, (value, low, high) in settings.items():
        if not low <= value <= high:
            raise ConfigError(f"{architecture}: {name} is {value}; it must be between {low} and {high}")
