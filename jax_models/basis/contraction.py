"""The two products of the density expansion, with adjoints written in the order of operands that runs fast.

A matrix product that contracts the slow index of an operand is several times slower on a CPU, and automatic
differentiation asks for just that; the barriers keep XLA from folding the transposes back into the products.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_vjp
def sum_neighbors(radial: Float[Array, "N B K"], harmonics: Float[Array, "N M K"]) -> Float[Array, "N B M"]:
    """Sum over neighbours k of ``radial[n, b, k] harmonics[n, m, k]``. Differentiable any number of times in reverse
    mode."""
    return jnp.einsum("nbk,nmk->nbm", radial, harmonics)


def _sum_neighbors_forward(radial, harmonics):
    return sum_neighbors(radial, harmonics), (radial, harmonics)


def _sum_neighbors_backward(residuals, cotangent):
    radial, harmonics = residuals
    swapped = jax.lax.optimization_barrier(cotangent.transpose(0, 2, 1))
    return jnp.einsum("nbm,nmk->nbk", cotangent, harmonics), jnp.einsum("nmb,nbk->nmk", swapped, radial)


sum_neighbors.defvjp(_sum_neighbors_forward, _sum_neighbors_backward)


@jax.custom_vjp
def mix_channels(weights: Float[Array, "M C B"], density: Float[Array, "M B N"]) -> Float[Array, "M C N"]:
    """``weights[m] @ density[m]`` for each m. Differentiable any number of times in reverse mode."""
    return jnp.einsum("mcb,mbn->mcn", weights, density)


def _mix_channels_forward(weights, density):
    return mix_channels(weights, density), (weights, density)


def _mix_channels_backward(residuals, cotangent):
    weights, density = residuals
    swapped = jax.lax.optimization_barrier(weights.transpose(0, 2, 1))
    return jnp.einsum("mcn,mbn->mcb", cotangent, density), jnp.einsum("mbc,mcn->mbn", swapped, cotangent)


mix_channels.defvjp(_mix_channels_forward, _mix_channels_backward)
