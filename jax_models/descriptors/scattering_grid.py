"""Fields on a grid commensurate with the cell: sizes, plane waves, the density of point atoms, change of grid.

Fourier coefficients are held for half of the plane waves (the fields are real), without the highest ones of each axis,
which have no partner of opposite sign.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

GridSize = tuple[int, int, int]
"""Points along each cell vector."""
FEWEST = 10
"""Points along an axis, if the finest grid has them: a wave that is all but constant still has a modulus of many
waves."""


def fft_size(least: float) -> int:
    """The next of 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, ...: few sizes, so that structures share
    compiled code, and sizes for which Fourier transforms are fast.

    Example:
        >>> [fft_size(n) for n in (1, 13, 31.5, 65)]
        [2, 14, 32, 80]
    """
    if least <= 14:
        return max(2, 2 * math.ceil(least / 2))
    octave = 2 ** (math.ceil(math.log2(least)) - 3)
    return octave * next(n for n in (5, 6, 7, 8) if n * octave >= least)


def grid_of(cell: Float[np.ndarray, "3 3"], spacing: float) -> GridSize:
    """Sizes with points at most ``spacing`` Å apart along each cell vector: every plane wave of k < pi/spacing is
    there, in a skewed cell too."""
    a, b, c = (fft_size(length / spacing) for length in np.linalg.norm(np.asarray(cell, float), axis=1))
    return a, b, c


def coarser(grid: GridSize, factor: float) -> GridSize:
    """The grid for fields that are smoother by ``factor``."""
    a, b, c = (min(n, fft_size(max(n / factor, FEWEST))) for n in grid)
    return a, b, c


def indices(grid: GridSize) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whole numbers (h, k, l) of the plane waves along each axis."""
    n1, n2, n3 = grid
    return np.fft.fftfreq(n1, 1 / n1), np.fft.fftfreq(n2, 1 / n2), np.arange(n3 // 2 + 1.0)


def plane_waves(cell: Float[Array, "3 3"], grid: GridSize) -> Float[Array, "3 n1 n2 n3h"]:
    """Wave vectors in 1/Å, those without a partner included."""
    first, second, third = indices(grid)
    inverse = 2 * jnp.pi * jnp.linalg.inv(cell)
    h, k, l = (jnp.asarray(v, cell.dtype) for v in (first[:, None, None], second[:, None], third))  # noqa: E741
    return jnp.stack([inverse[c, 0] * h + inverse[c, 1] * k + inverse[c, 2] * l for c in range(3)])


def structure_factors(
    fractional: Float[Array, "N 3"], weights: Float[Array, "C N"], grid: GridSize
) -> Complex[Array, "C n1 n2 n3h"]:
    """sum_k w_k exp(-i G r_k) of each channel: the exact Fourier series of points. The phase is a product of three,
    one an axis, so the sum over atoms is a matrix product."""
    phases = [
        jnp.exp(-2j * jnp.pi * fractional[:, axis, None] * jnp.asarray(v)) for axis, v in enumerate(indices(grid))
    ]
    n1, n2, n3h = (p.shape[1] for p in phases)
    plane = (phases[0][:, :, None] * phases[1][:, None, :]).reshape(-1, n1 * n2)
    line = (weights.T[:, :, None] * phases[2][:, None, :]).reshape(len(fractional), -1)
    product = plane.T @ line
    return jnp.moveaxis(product.reshape(n1, n2, len(weights), n3h), 2, 0)


def on_grid(coefficients: Complex[Array, "*B n1 n2 n3h"], new: GridSize) -> Complex[Array, "*B m1 m2 m3h"]:
    """Fourier coefficients of the same field on a grid with as many points or fewer; the highest of each axis become
    0."""
    for axis, size in zip((-3, -2), new[:2], strict=True):
        half = size // 2
        moved = jnp.moveaxis(coefficients, axis, 0)
        low, high = moved[:half], moved[len(moved) - half + 1 :]
        coefficients = jnp.moveaxis(jnp.concatenate([low, jnp.zeros_like(low[:1]), high]), 0, axis)
    low = coefficients[..., : new[2] // 2]
    return jnp.concatenate([low, jnp.zeros_like(low[..., :1])], axis=-1)


def to_field(
    coefficients: Complex[Array, "*B n1 n2 n3h"], grid: GridSize, volume: Float[Array, ""]
) -> Float[Array, "*B n1 n2 n3"]:
    """sum_G c_G exp(i G u)/volume at the points of the grid."""
    return jnp.fft.irfftn(coefficients, grid, axes=(-3, -2, -1)) * (math.prod(grid) / volume)


def to_coefficients(field: Float[Array, "*B n1 n2 n3"], volume: Float[Array, ""]) -> Complex[Array, "*B n1 n2 n3h"]:
    """The integral of field exp(-i G u) over the cell."""
    grid = field.shape[-3:]
    return jnp.fft.rfftn(field, axes=(-3, -2, -1)) * (volume / math.prod(grid))
