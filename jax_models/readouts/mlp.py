"""A small neural network for each element, beside a linear term."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax_models.basis.species import select_element
from jax_models.errors import ConfigError
from jax_models.readouts.linear import Linear

ACTIVATIONS = {"silu": jax.nn.silu, "tanh": jnp.tanh, "softplus": jax.nn.softplus}


class MLP(eqx.Module):
    """E_i = linear(features) + network(features).

    The last layer starts at zero: training begins at the linear fit and learns what it misses.

    Raises:
        ConfigError: an empty or non-positive layer width, an unknown activation.
    """

    linear: Linear
    weights: list[Float[Array, "S In Out"]]
    biases: list[Float[Array, "S Out"]]
    activation: str = eqx.field(static=True)

    defaults: ClassVar[dict] = {"hidden": (32, 32), "activation": "silu"}

    def __init__(
        self,
        n_features: int,
        elements: int,
        *,
        hidden: tuple[int, ...] = (32, 32),
        activation: str = "silu",
        key: Array,
    ):
        if not hidden or min(hidden) < 1:
            raise ConfigError(f"mlp: hidden is {list(hidden)}; it must list one or more positive layer widths")
        if activation not in ACTIVATIONS:
            raise ConfigError(f"mlp: activation {activation!r} is unknown; choose from {', '.join(ACTIVATIONS)}")
        self.activation = activation
        self.linear = Linear(n_features, elements)
        widths = [n_features, *hidden, 1]
        keys = jax.random.split(key, len(hidden))
        self.weights = [
            jax.random.normal(k, (elements, i, o)) / np.sqrt(i)
            for k, i, o in zip(keys, widths[:-2], widths[1:-1], strict=True)
        ] + [jnp.zeros((elements, widths[-2], 1))]
        self.biases = [jnp.zeros((elements, width)) for width in widths[1:]]

    def head(self) -> tuple[Array, ...]:
        """The last layer, and the linear term beside the network."""
        return *self.linear.head(), self.weights[-1], self.biases[-1]

    def only(self, rows: tuple[int, ...]) -> MLP:
        """The same networks for some of the elements, by their places."""
        return jax.tree.map(lambda leaf: leaf[np.asarray(rows)], self)

    def __call__(self, features: Float[Array, "N F"], species: Int[Array, " N"]) -> Float[Array, " N"]:
        # Atoms last, and the linear term as one more column of the first layer: one matrix product a layer.
        # Each layer selects the centre's own element, so that the activation is computed once, not for each element.
        first = jnp.concatenate([self.weights[0], self.linear.weights[:, :, None]], axis=2)
        out = _layer(first, features.T, species)
        hidden, linear = out[:-1], out[-1]
        for bias, weight in zip(self.biases, self.weights[1:], strict=False):
            hidden = _layer(
                weight, ACTIVATIONS[self.activation](hidden + select_element(bias[..., None], species)), species
            )
        bias = self.biases[-1] + self.linear.bias[:, None]
        return hidden[0] + linear + select_element(bias, species)


def _layer(
    weight: Float[Array, "S In Out"], inputs: Float[Array, "In N"], species: Int[Array, " N"]
) -> Float[Array, "Out N"]:
    n_elements, n_in, n_out = weight.shape
    product = weight.swapaxes(1, 2).reshape(n_elements * n_out, n_in) @ inputs
    return select_element(product.reshape(n_elements, n_out, -1), species)
