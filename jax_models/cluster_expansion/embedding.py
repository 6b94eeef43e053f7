"""Embedding functions of PACE: energies of densities, with a weight and an exponent for each."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

Densities = Float[Array, "P N"]
STEEPNESS = 1e6
"""Of the Finnis-Sinclair function where it turns linear, below densities of about 1e-6."""


def finnis_sinclair(rho: Densities, exponent: Densities) -> Densities:
    """sign(rho) |rho|^m, made linear about zero."""
    a = jnp.abs(rho)
    small = a <= 1e-10
    a = jnp.where(small, 1.0, a)
    slope = STEEPNESS ** (1.0 - exponent)
    cube = (STEEPNESS * a) ** 3
    linear = jnp.where(cube > 30.0, 0.0, jnp.exp(-jnp.minimum(cube, 30.0)))
    value = jnp.sign(rho) * ((1.0 - linear) * a**exponent + slope * linear * a)
    return jnp.where(small, slope * rho, value)


def finnis_sinclair_shifted(rho: Densities, exponent: Densities) -> Densities:
    """The same, shifted and scaled so that its slope is finite at zero."""
    straight = jnp.abs(exponent - 1.0) < 1e-10
    inverse = 1.0 / jnp.where(straight, 2.0, exponent)
    a = jnp.abs(rho)
    decay = jnp.exp(-a)
    x = inverse ** (inverse / (1.0 - inverse)) * decay
    y = inverse ** (1.0 / (1.0 - inverse)) * decay
    value = jnp.where(rho < 0, -1.0, 1.0) * ((x + a) ** exponent - y)
    return jnp.where(straight, rho, value)


EMBEDDINGS = {"FinnisSinclair": finnis_sinclair, "FinnisSinclairShiftedScaled": finnis_sinclair_shifted}
