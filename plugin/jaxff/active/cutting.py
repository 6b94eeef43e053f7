"""Small periodic cells out of large structures: what is around an uncertain atom, small enough for a labeller.

As MLIP-3 (Podryabinkin et al., J. Chem. Phys. 159, 084112 (2023)) and others do: a box around the atom becomes a cell
of its own. Inside a radius nothing changes; where the box meets its own image is a seam that no dynamics made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import get_distances
from ase.neighborlist import neighbor_list
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

from jax_models.errors import ConfigError
from jaxff.active.exploration import ERROR
from jaxff.active.folder import identity
from jaxff.active.settings import Selection
from jaxff.knowledge.structure_families import CLOSEST

PIECES = 3
"""Out of one structure, at most."""
SLACK = 6.0
"""Å: a box may be so much wider than it must, for a seam that fits; a little more than most lattice constants."""
STEP = 0.05
"""Å between two widths that are tried."""
FACE = 0.5
"""Å by which a face may move, so that it goes between atoms and not through them."""
REACH = 3.0
"""Å on both sides of a face that are compared across the seam."""
MISFIT = 2.0
"""Å: atoms farther apart than this are as different as can be."""
CONTACT = 4.0
"""Å: within it nearest neighbours are looked for."""
CLOSER = 0.9
"""Of the distance that 95 % of nearest neighbours keep inside the piece: pairs across the seam that are closer lose an
atom."""


def check_cut(select: Selection, cutoff: float) -> None:
    """
    Raises:
        ConfigError: what is cut would not hold an atom with all its neighbours, which are within ``cutoff`` (Å).
    """
    if select.cut is not None and select.cut < cutoff:
        raise ConfigError(
            f"select.cut is {select.cut:g} Å, and the potential's neighbours reach {cutoff:g} Å: what is cut must hold "
            "an atom with all its neighbours"
        )


def small_enough(frames: Sequence[Atoms], select: Selection, cutoff: float) -> tuple[list[Atoms], int]:
    """``frames`` that can be labelled, larger ones cut where ``select.cut`` says so; and how many are left out.

    Args:
        frames: with expected errors.
        cutoff: Å, of the potential.
    """
    found, left_out = [], 0
    for atoms in frames:
        if len(atoms) <= select.atoms:
            found.append(atoms)
            continue
        pieces = [] if select.cut is None else cut_out(atoms, select.cut, cutoff)
        fitting = [piece for piece in pieces if len(piece) <= select.atoms]
        found += fitting
        left_out += not fitting
    return found, left_out


def cut_out(atoms: Atoms, radius: float, cutoff: float) -> list[Atoms]:
    """Cells around the most uncertain atoms of a structure, at most `PIECES` and none around the same atoms.

    Returns:
        Structures with ``parent`` (id) and ``atom`` (index of the one in the middle) in their info. Their expected
        errors are the parent's for atoms that have all neighbours as they were, and 0 for others.
    """
    pieces: list[Atoms] = []
    centres: list[int] = []
    for centre in np.argsort(-atoms.arrays[ERROR]).tolist():
        place = atoms.positions[centre]
        if centres:
            _, distances = get_distances(place, atoms.positions[centres], cell=atoms.cell, pbc=atoms.pbc)
            if distances.min() < radius:
                continue
        centres.append(centre)
        piece = surroundings(atoms, centre, radius)
        if piece is None:
            return []
        changed = _distances_to(piece, piece.positions[piece.info["middle"]]) > radius - cutoff + 1e-6
        piece.arrays[ERROR][changed] = 0.0
        del piece.info["middle"]
        piece.info |= {"parent": identity(atoms), "atom": centre}
        pieces.append(piece)
        if len(pieces) == PIECES:
            break
    return pieces


def surroundings(atoms: Atoms, centre: int, radius: float) -> Atoms | None:
    """A cell around one atom, with all others within ``radius`` (Å) of it where they were, and no images so near.

    Each direction that is periodic and long enough is cut to a little over ``2 radius``: of all widths up to
    `SLACK` more, the one across whose faces the structure repeats itself best, which in a crystal is a multiple of its
    period. Atoms across the seam that are too close are thinned out, those farther from the centre first; nothing is
    moved.

    Returns:
        The cell, with the index of the centre as ``middle`` in its info; None where there is no direction to cut.
    """
    if not atoms.pbc.any() or atoms.cell.rank < atoms.pbc.sum():
        return None
    cell = atoms.cell.complete().array
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    scaled = np.linalg.solve(cell.T, (atoms.positions - atoms.positions[centre]).T).T
    scaled -= np.where(atoms.pbc, np.round(scaled), 0.0)
    # Two atoms that are too close across a face must not both be inside the radius: one of them may have to go.
    least = 2 * (radius + covalent_radii[atoms.numbers].max() + FACE)
    cut = atoms.pbc & (heights > least)
    if not cut.any():
        return None
    widths, middles = heights.copy(), np.zeros(3)
    for axis in np.flatnonzero(cut).tolist():
        near = np.all((np.abs(scaled) * heights < least / 2) | ~cut | (np.arange(3) == axis), axis=1)
        widths[axis] = _width(scaled[near], atoms.numbers[near], cell, axis, least)
        if widths[axis] < heights[axis]:
            middles[axis] = _between_atoms(scaled[near, axis] * heights[axis], widths[axis])
    cut &= widths < heights
    along = scaled * heights - middles
    inside = np.all((along >= -widths / 2) & (along < widths / 2) | ~cut, axis=1)
    numbers = np.flatnonzero(inside)
    new_cell = cell * np.where(cut, widths / heights, 1.0)[:, None]
    new_cell = np.where(atoms.pbc[:, None], new_cell, atoms.cell.array)
    corner = 0.5 * new_cell[atoms.pbc].sum(axis=0)
    piece = Atoms(atoms.numbers[inside], scaled[inside] @ cell + corner, cell=new_cell, pbc=atoms.pbc)
    for name in set(atoms.arrays) - {"numbers", "positions"}:
        piece.arrays[name] = atoms.arrays[name][inside].copy()
    if "config_type" in atoms.info:
        piece.info["config_type"] = atoms.info["config_type"]
    middle = int(np.searchsorted(numbers, centre))
    kept = _thinned(piece, middle, radius, cut)
    piece = piece[kept]
    piece.info["middle"] = int(np.sum(kept[:middle]))
    return piece


def _width(
    scaled: Float[np.ndarray, "N 3"], numbers: np.ndarray, cell: Float[np.ndarray, "3 3"], axis: int, least: float
) -> float:
    """The width (Å) from ``least`` on whose two faces look most alike; the smallest of those that look about so."""
    height = float(1 / np.linalg.norm(np.linalg.inv(cell)[:, axis]))
    if height <= least + SLACK:
        # What is periodic already has no seam.
        return height
    tried = np.arange(least, least + SLACK, STEP)
    found = [_misfit(scaled, numbers, cell, axis, height, width) for width in tried]
    misfits = np.array([misfit for misfit, _ in found])
    best = int(np.flatnonzero(misfits <= 1.05 * misfits.min() + 0.02)[0])
    low, high = max(0, best - round(0.5 / STEP)), best + round(0.5 / STEP) + 1
    best = low + int(np.argmin(misfits[low:high]))
    return float(max(tried[best] + found[best][1], least))


def _misfit(
    scaled: Float[np.ndarray, "N 3"],
    numbers: np.ndarray,
    cell: Float[np.ndarray, "3 3"],
    axis: int,
    height: float,
    width: float,
) -> tuple[float, float]:
    """How far (Å, on average) atoms at one face are from where those at the other face are; and by how much the width
    would have to grow for them to agree on average."""
    clouds = []
    for face, reach in ((-width / 2, REACH), (width / 2, REACH + MISFIT)):
        offset = scaled[:, axis] * height - face
        offset -= height * np.round(offset / height)
        at = np.abs(offset) < reach
        moved = scaled[at].copy()
        moved[:, axis] = offset[at] / height
        # Elements are far apart in a fourth direction: only like atoms are compared.
        clouds.append(np.column_stack([moved @ cell, 1e3 * numbers[at]]))
    here, there = clouds
    if not len(here) or not len(there):
        return (0.0 if len(here) == len(there) else MISFIT), 0.0
    distances, nearest = cKDTree(there).query(here)
    normal = np.linalg.inv(cell)[:, axis] * height
    matched = distances < MISFIT / 2
    growth = ((there[nearest] - here)[matched, :3] @ normal).mean() if matched.any() else 0.0
    return float(np.minimum(distances, MISFIT).mean()), float(np.clip(growth, -STEP, STEP))


def _between_atoms(along: Float[np.ndarray, "N"], width: float) -> float:
    """Where the middle of the box goes (Å, within `FACE` of the centre) for its faces to have most room."""
    places = np.sort((along[np.abs(along) < width / 2 + FACE] % width) - width / 2)
    places = np.concatenate([[-FACE], places[np.abs(places) < FACE], [FACE]])
    gap = int(np.argmax(np.diff(places)))
    return float((places[gap] + places[gap + 1]) / 2)


def _thinned(piece: Atoms, middle: int, radius: float, cut: Bool[np.ndarray, "3"]) -> Bool[np.ndarray, "N"]:
    """Which atoms stay: of pairs across the seam that are closer than atoms of these elements come, one goes."""
    first, second, distances, images = neighbor_list("ijdS", piece, CONTACT)
    across = np.any((images != 0) & cut, axis=1)
    away = _distances_to(piece, piece.positions[middle])
    limits = _closest(piece.numbers, first[~across], second[~across], distances[~across])
    stays = np.ones(len(piece), bool)
    for pair in np.flatnonzero(across)[np.argsort(distances[across])]:
        a, b = first[pair], second[pair]
        if stays[a] and stays[b] and distances[pair] < limits[tuple(sorted((piece.numbers[a], piece.numbers[b])))]:
            stays[a if away[a] > away[b] else b] = away[a] <= radius and away[b] <= radius
    return stays


def _closest(
    numbers: np.ndarray, first: np.ndarray, second: np.ndarray, distances: np.ndarray
) -> dict[tuple[int, int], float]:
    """For each pair of elements, a distance (Å) that they seldom fall below."""
    limits = {}
    for a in np.unique(numbers).tolist():
        for b in [b for b in np.unique(numbers).tolist() if b >= a]:
            chosen = (numbers[first] == a) & (numbers[second] == b)
            nearest = np.full(len(numbers), np.inf)
            np.minimum.at(nearest, first[chosen], distances[chosen])
            nearest = nearest[np.isfinite(nearest)]
            bond = float(covalent_radii[a] + covalent_radii[b])
            limits[a, b] = CLOSER * float(np.quantile(nearest, 0.05)) if len(nearest) else CLOSEST * bond
    return limits


def _distances_to(atoms: Atoms, place: Float[np.ndarray, "3"]) -> Float[np.ndarray, "N"]:
    """Å, of all atoms and the nearest image."""
    return get_distances(place, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)[1][0]
