"""Lennard-Jones and Stillinger-Weber as a user would write them in JAX; LAMMPS's own are the judges."""

from __future__ import annotations

import jax.numpy as jnp


def lennard_jones(nb, epsilon=0.0104, sigma=3.4):
    """lj/cut: half of each pair's energy to each of its atoms."""
    s6 = (sigma**2 / jnp.sum(nb.vectors**2, axis=-1)) ** 3
    return 0.5 * jnp.sum(jnp.where(nb.mask, 4 * epsilon * (s6**2 - s6), 0.0), axis=-1)


SW_EPSILON, SW_SIGMA, SW_A, SW_LAMBDA, SW_GAMMA, SW_COS = 2.1683, 2.0951, 1.80, 21.0, 1.20, -0.333333333333
SW_BIG_A, SW_BIG_B, SW_P = 7.049556277, 0.6022245584, 4
SW_CUTOFF = SW_A * SW_SIGMA


def stillinger_weber(nb):
    """Stillinger and Weber, PRB 31, 5262, with the numbers of LAMMPS's Si.sw."""
    r = jnp.sqrt(jnp.sum(nb.vectors**2, axis=-1))
    near = nb.mask & (r < SW_CUTOFF * (1 - 1e-12))
    r = jnp.where(near, r, 0.5 * SW_CUTOFF)
    pair = SW_BIG_A * SW_EPSILON * (SW_BIG_B * (SW_SIGMA / r) ** SW_P - 1) * jnp.exp(SW_SIGMA / (r - SW_CUTOFF))
    two_body = 0.5 * jnp.sum(jnp.where(near, pair, 0.0), axis=-1)
    decay = jnp.where(near, jnp.exp(SW_GAMMA * SW_SIGMA / (r - SW_CUTOFF)), 0.0)
    unit = nb.vectors / r[..., None]
    cosine = jnp.einsum("nja,nka->njk", unit, unit)
    triple = SW_LAMBDA * SW_EPSILON * (cosine - SW_COS) ** 2 * decay[:, :, None] * decay[:, None, :]
    different = ~jnp.eye(r.shape[1], dtype=bool)
    return two_body + 0.5 * jnp.sum(jnp.where(different, triple, 0.0), axis=(1, 2))
