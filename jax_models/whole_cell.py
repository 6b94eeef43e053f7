"""Whole-cell systems: positions in a cell that is periodic along all three of its vectors, padded to few shapes."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, Float

from jax_models.errors import StructureError
from jax_models.neighborhood import bucket

GAP = 1.6
"""Empty space along directions that are not periodic, in units of the widest wavelet's reach: there, both images' waves
have fallen to 1e-2 of their peaks or less, and squares count."""


def enclosing_cell(
    positions: Float[np.ndarray, "N 3"],
    cell: Float[np.ndarray, "3 3"],
    periodic: Bool[np.ndarray, " 3"] | bool,
    reach: float,
) -> Float[np.ndarray, "3 3"]:
    """``cell``, with each vector that is not periodic replaced by one normal to the others, as long as the atoms and an
    empty space of ``GAP`` x ``reach`` (Å) need. Lengths come in steps of a quarter of that, so that they seldom change.
    Vectors come longest first.

    Raises:
        StructureError: positions or cell are not finite, or the periodic vectors span no area or volume.
    """
    periodic = np.broadcast_to(np.asarray(periodic, bool), (3,))
    if not np.isfinite(positions).all():
        atom = int(np.argwhere(~np.isfinite(positions))[0, 0])
        raise StructureError(f"atom {atom} has a position that is not finite: {positions[atom]}")
    if not np.isfinite(cell).all():
        raise StructureError(f"the cell has entries that are not finite: {np.asarray(cell).tolist()}")
    cell = np.array(cell, float)
    normal = np.linalg.svd(cell[periodic])[2][periodic.sum() :] if periodic.any() else np.eye(3)
    for axis, direction in zip(np.flatnonzero(~periodic), normal, strict=True):
        extent = np.ptp(positions @ direction) if len(positions) else 0.0
        step = 0.25 * GAP * reach
        cell[axis] = direction * step * (4 + math.ceil(extent / step))
    lengths = np.linalg.norm(cell, axis=1)
    if not np.abs(np.linalg.det(cell)) > 1e-6 * np.prod(lengths):
        raise StructureError("the structure is periodic, but its cell has no volume")
    # Longest first: what is one structure in another order of its vectors has one grid.
    return cell[np.argsort(-lengths, kind="stable")]


def padded(positions: Float[np.ndarray, "N 3"], species: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, species and mask with room for a few more atoms, so that sizes near each other share one compilation."""
    n, size = len(positions), bucket(max(len(positions), 1), 32)
    more = np.zeros((size, 3))
    more[:n] = positions
    return more, np.pad(np.asarray(species, np.int32), (0, size - n)), np.arange(size) < n


def features_of(descriptor: Any, systems: Sequence[tuple], double: bool = True) -> Float[np.ndarray, "S F"]:
    """Features of many systems, one row each, compiled once for each padded size and grid.

    Args:
        descriptor: of whole cells: `reach`, `grid_for` and a call with (positions, cell, species, mask, grid).
        systems: (positions[N, 3], cell[3, 3], periodic, species[N]) of each.
        double: compute in float64.

    Raises:
        StructureError: as `enclosing_cell`.

    Example:
        >>> from jax_models.descriptors.scattering import Scattering
        >>> one = np.zeros((1, 3)), 4.0 * np.eye(3), True, np.zeros(1, int)
        >>> features_of(Scattering(("Si",), n_scales=1, orders=(1,)), [one]).shape
        (1, 24)
    """
    rows = []
    with jax.enable_x64(double):
        for positions, cell, periodic, species in systems:
            box = enclosing_cell(np.asarray(positions, float), cell, periodic, descriptor.reach)
            arguments = padded(positions, species)
            real = np.float64 if double else np.float32
            rows.append(
                _features(
                    descriptor, arguments[0].astype(real), box.astype(real), *arguments[1:], descriptor.grid_for(box)
                )
            )
        return np.array([np.asarray(row, float) for row in rows]).reshape(len(rows), -1)


@functools.partial(eqx.filter_jit)
def _features(descriptor: Any, positions, cell, species, mask, grid):
    return descriptor(positions, cell, species, mask, grid)
