"""Elements of centres and neighbours, as products with 0 and 1: cheap for few elements, and no gather or scatter."""

from __future__ import annotations

import functools
import operator
from typing import Any

import jax
from jaxtyping import Array, Float, Int


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
