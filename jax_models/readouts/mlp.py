"""A small neural network for each element, beside a linear term."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax_models.errors import ConfigError
from jax_models.readouts.linear import Linear, select_element

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

    def __init__(self, n_features: int, elements: int, *, hidden: tuple[int, ...] = (32, 32), activation: str = "silu", key: Array):
        if not hidden or min(hidden) < 1:
            raise ConfigError(f"mlp: hidden is {list(hidden)}; it must list one or more positive layer widths")
        if activation not in ACTIVATIONS:
            raise ConfigError(f"mlp: activation {activation!r} is unknown; choose from {', '.join(ACTIVATIONS)}")
        self.activation = activation
        self.linear = Linear(n_features, elements)
        widths = [n_features, *hidden, 1]
        keys = jax.random.split(key, len(hidden))
        self.weights = [
            jax.random.normal(k, (elements, i, o)) / np.sqrt(i) for k, i, o in zip(keys, widths[:-2], widths[1:-1], strict=True)
        ] + [jnp.zeros((elements, widths[-2], 1))]
        self.biases = [jnp.zeros((elements, width)) for width in widths[1:]]

    def __call__(self, features: Float[Array, "N F"], species: Int[Array, " N"]) -> Float[Array, " N"]:
        activation = ACTIVATIONS[self.activation]
        hidden = jnp.einsum("nf,sfo->nso", features, self.weights[0]) + self.biases[0]
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            hidden = jnp.einsum("nsi,sio->nso", activation(hidden), weight) + bias
        return self.linear(features, species) + select_element(hidden[..., 0], species)
