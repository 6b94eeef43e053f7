"""Radial bases."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def chebyshev(x: Float[Array, "..."], n: int, scale: Float[Array, "..."] | float = 1.0) -> list[Float[Array, "..."]]:
    """``scale`` times the Chebyshev polynomials T_0 ... T_{n-1} of ``x`` in [-1, 1], by their recurrence.

    Scaling the first two scales them all, which saves n products where the scale is a cutoff.
    """
    values = [scale * jnp.ones_like(x), scale * x]
    while len(values) < n:
        values.append(2.0 * x * values[-1] - values[-2])
    return values[:n]
