"""Equal structures in a data set: copies that must not stand on both sides of a split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jax_models.neighborhood import complete_cell
from jax_models.training.data.structures import Structure

SAME_PLACE = 1e-3
"""Å; coarser than the digits that a file keeps, finer than a step of molecular dynamics."""
FEW = 32


def equal_structures(structures: Sequence[Structure], tolerance: float = SAME_PLACE) -> list[list[int]]:
    """Indices of ``structures`` in groups: those of one group have the same atoms in the same order and places.

    Cells and positions agree within ``tolerance`` (Å); an atom may be in another periodic image. Labels do not count.
    The groups are in the order of their first members, each ascending.

    Raises:
        StructureError: a cell that is periodic in three directions without volume.
    """
    kinds: dict[tuple, list[int]] = defaultdict(list)
    for index, s in enumerate(structures):
        kinds[s.symbols, tuple(np.asarray(s.periodic, bool).tolist())].append(index)
    groups = [group for members in kinds.values() for group in _alike(structures, members, tolerance)]
    return sorted(groups)


def copies(structures: Sequence[Structure], others: Sequence[Structure]) -> list[int]:
    """Indices of those of ``structures`` that are equal to one of ``others``."""
    n = len(structures)
    mixed = (g for g in equal_structures([*structures, *others]) if g[-1] >= n)
    return sorted(index for group in mixed for index in group if index < n)


def _alike(structures: Sequence[Structure], members: Sequence[int], tolerance: float) -> list[list[int]]:
    """``members``, all with the same atoms, in groups of equal structures."""
    if len(members) == 1:
        return [list(members)]
    # A few coordinates tell most structures apart: the others are compared only where these agree.
    size = len(_coordinates(structures[members[0]]))
    few = np.random.default_rng(0).permutation(size)[:FEW]
    signatures = np.array([_coordinates(structures[index])[few] for index in members])
    leading = int(np.argmax(np.ptp(signatures, axis=0)))
    order = np.argsort(signatures[:, leading], kind="stable")
    sorted_ = signatures[order]
    ends = np.searchsorted(sorted_[:, leading], sorted_[:, leading] + tolerance, side="right")
    free = np.ones(len(order), bool)
    groups = []
    for place, end in enumerate(ends):
        if not free[place]:
            continue
        group = [members[order[place]]]
        near = np.abs(sorted_[place + 1 : end] - sorted_[place]).max(axis=1, initial=0.0) <= tolerance
        for other in place + 1 + np.flatnonzero(near & free[place + 1 : end]):
            candidate = members[order[other]]
            difference = _coordinates(structures[candidate]) - _coordinates(structures[group[0]])
            if np.abs(difference).max() <= tolerance:
                free[other] = False
                group.append(candidate)
        groups.append(sorted(group))
    return groups


def _coordinates(s: Structure) -> Float[np.ndarray, " C"]:
    """Numbers in Å that change smoothly with a structure, and not when an atom goes to another periodic image."""
    periodic = np.asarray(s.periodic, bool)
    if not periodic.any():
        return np.ravel(s.positions)
    cell = np.asarray(complete_cell(s.cell, periodic), float)
    fractions = np.linalg.solve(cell.T, np.asarray(s.positions, float).T).T
    lengths = np.linalg.norm(cell, axis=1)
    turns = 2 * np.pi * fractions[:, periodic]
    radius = lengths[periodic] / (2 * np.pi)
    return np.concatenate(
        [
            np.ravel(np.asarray(s.cell, float)[periodic]),
            np.ravel(np.cos(turns) * radius),
            np.ravel(np.sin(turns) * radius),
            np.ravel(fractions[:, ~periodic] * lengths[~periodic]),
        ]
    )
