"""Cutoff functions: 1 at r = 0, 0 from the cutoff on, with continuous derivatives there."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def polynomial_cutoff(r: Float[Array, "..."], cutoff: float, power: int = 3) -> Float[Array, "..."]:
    """(1 - (r/cutoff)^2)^power: ``power`` - 1 continuous derivatives at the cutoff, and no transcendental call."""
    t = jnp.minimum(r * (1.0 / cutoff), 1.0)
    return (1.0 - t * t) ** power


def cosine_cutoff(r: Float[Array, "..."], cutoff: float) -> Float[Array, "..."]:
    """(1 + cos(pi r/cutoff))/2 (Behler, J. Chem. Phys. 134, 074106, eq. 4)."""
    return 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(r * (1.0 / cutoff), 1.0)))
