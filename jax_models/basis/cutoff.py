"""Cutoff functions: 1 at r = 0, 0 from the cutoff on, with at least one continuous derivative there."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Float


def polynomial_cutoff(r: Float[Array, "..."], cutoff: float, power: int = 3) -> Float[Array, "..."]:
    """(1 - (r/cutoff)^2)^power: ``power`` - 1 continuous derivatives at the cutoff, and no transcendental call."""
    t = jnp.minimum(r * (1.0 / cutoff), 1.0)
    return (1.0 - t * t) ** power


def cosine_cutoff(r: Float[Array, "..."], cutoff: float) -> Float[Array, "..."]:
    """(1 + cos(pi r/cutoff))/2 (Behler, J. Chem. Phys. 134, 074106, eq. 4), as sin(pi (1 - r/cutoff)/2)^2.

    Its second derivative jumps at the cutoff. The square does not cancel near the cutoff. The sine is its series, exact
    in float64 on this range: XLA's cosine is no vector code on a CPU, and is computed again for each use.
    """
    u = 1.0 - jnp.minimum(r * (1.0 / cutoff), 1.0)
    square = u * u
    series = SINE_SERIES[-1]
    for coefficient in SINE_SERIES[-2::-1]:
        series = coefficient + square * series
    return square * (series * series)


SINE_SERIES = [(-1) ** k * (math.pi / 2) ** (2 * k + 1) / math.factorial(2 * k + 1) for k in range(11)]
"""sin(pi u / 2) / u in powers of u^2; what is left out is below 1e-17 for u in [0, 1]."""
