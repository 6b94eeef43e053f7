"""Energy linear in the features."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Linear(eqx.Module):
    """E_i = w[z_i] . features + b[z_i]; starts at zero, so that a least-squares fit may fill it."""

    weights: Float[Array, "S F"]
    bias: Float[Array, " S"]

    defaults: ClassVar[dict] = {}

    def __init__(self, n_features: int, elements: int, *, key: Array | None = None):
        self.weights = jnp.zeros((elements, n_features))
        self.bias = jnp.zeros(elements)

    def __call__(self, features: Float[Array, "N F"], species: Int[Array, " N"]) -> Float[Array, " N"]:
        return select_element(features @ self.weights.T + self.bias, species)


def select_element(per_element: Float[Array, "N S *rest"], species: Int[Array, " N"]) -> Float[Array, "N *rest"]:
    """The entry of each centre's own element. A product with a one-hot mask: cheap for the few elements a
    potential has, and its derivative is no scatter."""
    n_elements = per_element.shape[1]
    if n_elements == 1:
        return per_element[:, 0]
    own = jax.nn.one_hot(species, n_elements, dtype=per_element.dtype)
    return jnp.einsum("ns...,ns->n...", per_element, own)
