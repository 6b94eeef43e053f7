"""The entry that belongs to each centre's element."""

from __future__ import annotations

import functools
import operator

import jax
from jaxtyping import Array, Float, Int


def select_element(per_element: Float[Array, "S *rest N"], species: Int[Array, " N"]) -> Float[Array, "*rest N"]:
    """Of values for every element, those of each centre's own.

    A product with a one-hot mask: cheap for the few elements a potential has, and its derivative is no scatter.
    """
    n_elements = per_element.shape[0]
    if n_elements == 1:
        return per_element[0]
    own = jax.nn.one_hot(species, n_elements, axis=0, dtype=per_element.dtype)
    return functools.reduce(operator.add, (per_element[s] * own[s] for s in range(n_elements)))
