"""Distances and directions to the neighbours, with derivatives that stay finite where a neighbour sits on the point."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_models.neighborhood import Neighborhood

SOFTENING = 1e-3
"""Å: what r becomes where a neighbour sits on the point. Bond and grid points may coincide with an atom, where the
direction has no derivative; the softened one has."""
SOFTENED_BELOW = 0.3
"""Å: from here on r and the direction are exact."""


def distances_and_directions(
    neighborhood: Neighborhood,
) -> tuple[Float[Array, "N K"], tuple[Float[Array, "N K"], Float[Array, "N K"], Float[Array, "N K"]]]:
    """r (Å) and the direction (x, y, z) of each neighbour.

    r^2 = |v|^2 + SOFTENING^2 (1 - |v|^2 / SOFTENED_BELOW^2)^3 inside SOFTENED_BELOW. Padded entries give numbers that
    are finite, and mean nothing.
    """
    # The barriers stop XLA from computing r and the direction, and the sums behind their derivatives, once for each
    # use.
    x, y, z = jax.lax.optimization_barrier(neighborhood.vectors.transpose(2, 0, 1))
    square = x * x + y * y + z * z
    fading = jnp.maximum(1.0 - square * (1.0 / SOFTENED_BELOW**2), 0.0)
    r = jnp.sqrt(square + SOFTENING**2 * fading**3)
    inverse = 1.0 / r
    return jax.lax.optimization_barrier((r, (x * inverse, y * inverse, z * inverse)))
