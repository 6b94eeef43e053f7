"""Energy linear in the features."""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax_models.basis.species import select_element


class Linear(eqx.Module):
    """E_i = w[z_i] . features + b[z_i]; starts at zero, so that a least-squares fit may fill it."""

    weights: Float[Array, "S F"]
    bias: Float[Array, " S"]

    defaults: ClassVar[dict] = {}

    def __init__(self, n_features: int, elements: int, *, key: Array | None = None):
        self.weights = jnp.zeros((elements, n_features))
        self.bias = jnp.zeros(elements)

    def head(self) -> tuple[Array, ...]:
        """All of it: there is nothing below that a trunk could hold."""
        return self.weights, self.bias

    def only(self, rows: tuple[int, ...]) -> Linear:
        """The same functions for some of the elements, by their places."""
        return jax.tree.map(lambda leaf: leaf[np.asarray(rows)], self)

    def __call__(self, features: Float[Array, "N F"], species: Int[Array, " N"]) -> Float[Array, " N"]:
        return select_element(self.weights @ features.T + self.bias[:, None], species)
