"""Elements of centres and neighbours, as products with 0 and 1: cheap for few elements, and no gather or scatter."""

from __future__ import annotations

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jax_models.neighborhood import Neighborhood


def select_element(per_element: Float[Array, "S *rest N"], species: Int[Array, " N"]) -> Float[Array, "*rest N"]:
    """Of values for every element, those of each centre's own."""
    n_elements = per_element.shape[0]
    if n_elements == 1:
        return per_element[0]
    own = jax.nn.one_hot(species, n_elements, axis=0, dtype=per_element.dtype)
    return functools.reduce(operator.add, (per_element[s] * own[s] for s in range(n_elements)))


def element_masks(species: Int[Array, "*n"], n_elements: int, dtype: Any) -> list[Float[Array, "*n"]]:
    """For each element, 1 where an atom is of it and 0 elsewhere."""
    return [(species == s).astype(dtype) for s in range(n_elements)]


def pair_values(table: Float[Array, "S S"], neighborhood: Neighborhood, dtype: Any) -> Float[Array, "*NK"]:
    """Of values for each pair of elements (centre, neighbour), that of each neighbour [N, K]; one number where there is
    one element. Padding has the value of some pair, whatever its species."""
    table = jnp.asarray(table, dtype)
    if table.shape[0] == 1:
        return table[0, 0]
    own = jnp.take(table, neighborhood.species, axis=0, mode="clip")
    return table[0, 0] + functools.reduce(
        operator.add,
        ((neighborhood.neighbor_species == s) * (own[:, s] - table[0, 0])[:, None] for s in range(table.shape[0])),
    )
