"""Chebyshev polynomials, and functions as series of them."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def chebyshev(x: Float[Array, "..."], n: int, scale: Float[Array, "..."] | float = 1.0) -> list[Float[Array, "..."]]:
    """``scale`` times the Chebyshev polynomials T_0 ... T_{n-1} of ``x`` in [-1, 1], by their recurrence.

    Scaling the first two scales them all, which saves n products where the scale is a cutoff.
    """
    values = [scale * jnp.ones_like(x), scale * x]
    while len(values) < n:
        values.append(2.0 * x * values[-1] - values[-2])
    return values[:n]


def chebyshev_nodes(n: int) -> Float[np.ndarray, " n"]:
    """The places in [-1, 1] where a function is to be known for a series of ``n`` terms."""
    return np.cos(np.pi * (np.arange(n) + 0.5) / n)


def chebyshev_coefficients(values: Float[np.ndarray, "*f n"]) -> Float[np.ndarray, "*f n"]:
    """The series of functions that have these ``values`` at the nodes.

    Example:
        >>> chebyshev_coefficients(chebyshev_nodes(3)).round(12).tolist()
        [0.0, 1.0, 0.0]
    """
    n = values.shape[-1]
    series = values @ np.cos(np.outer(np.arange(n), np.arccos(chebyshev_nodes(n)))).T * (2.0 / n)
    series[..., 0] *= 0.5
    return series
