"""Labelled structures as plain arrays: what is trained on, its checks, its split, the energy of each element."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jax_models.elements import ATOMIC_NUMBERS
from jax_models.errors import DatasetError, StructureError
from jax_models.neighborhood import complete_cell, neighbor_pairs, pair_vectors

ISOLATED_ATOM = "isolatedatom"
"""``group`` (case and _ - ignored) of an isolated atom that was computed in a periodic box."""

ENOUGH_NEIGHBORS = 30
CUTOFFS = 5.0, 6.0
SAMPLED = 64
"""Structures whose distances decide on the cutoff."""


@dataclass(frozen=True, eq=False)
class Structure:
    """A structure and its labels. Units eV and Å."""

    positions: Float[np.ndarray, "N 3"]
    cell: Float[np.ndarray, "3 3"]
    periodic: Bool[np.ndarray, " 3"]
    symbols: tuple[str, ...]
    energy: float
    forces: Float[np.ndarray, "N 3"] | None = None
    virial: Float[np.ndarray, "3 3"] | None = None
    """dE/dstrain = stress x volume (ASE's sign)."""
    density: Float[np.ndarray, "n1 n2 n3"] | None = None
    """Energy density (eV/Å^3) at the points k_1 a_1/n_1 + k_2 a_2/n_2 + k_3 a_3/n_3 of the cell; its integral is the
    energy."""
    group: str = ""
    """Kind of structure (``config_type``): validation data are taken from each, errors reported for each."""
    charge: float = 0.0
    """Net charge (e), where the file tells one: nothing is made of it but a warning."""
    weight: float = 1.0
    """What its part of the training's loss is multiplied by."""
    name: str = "structure"
    """Where it came from, for messages: file and frame."""

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def isolated(self) -> bool:
        """Whether this is one atom alone, whose energy is its element's reference: not periodic, or said to be so."""
        said = self.group.lower().replace("_", "").replace("-", "") == ISOLATED_ATOM
        return len(self) == 1 and (said or not np.any(self.periodic))


def check(structures: Sequence[Structure]) -> None:
    """Refuse data that cannot be trained on.

    Raises:
        DatasetError: empty data; a frame with a label that is not finite or has the wrong shape, without atoms, or
            without forces where others have them, or with a periodic cell that has no volume.
    """
    if not structures:
        raise DatasetError("the data set is empty: there is no structure to train on")
    labelled = next((s for s in structures if s.forces is not None and not s.isolated), None)
    for s in structures:
        n = len(s)
        if n == 0:
            raise DatasetError(f"{s.name} has no atoms; remove it")
        unknown = sorted(set(s.symbols) - set(ATOMIC_NUMBERS))
        if unknown:
            raise DatasetError(f"{s.name} has atoms of {', '.join(unknown)}, which is no chemical element")
        arrays: dict[str, tuple[Any, tuple[int, ...]]] = {
            "positions": (s.positions, (n, 3)),
            "cell": (s.cell, (3, 3)),
            "energy": (s.energy, ()),
            "forces": (s.forces, (n, 3)),
        }
        for key, (value, shape) in (arrays | {"stress": (s.virial, (3, 3))}).items():
            if value is None:
                continue
            if np.shape(value) != shape:
                raise DatasetError(f"{s.name}: {key} has shape {np.shape(value)}; for its {n} atoms it must be {shape}")
            if not np.isfinite(value).all():
                where = (
                    f" (first at atom {int(np.argwhere(~np.isfinite(value))[0, 0])})"
                    if key in ("positions", "forces")
                    else ""
                )
                raise DatasetError(f"{s.name}: {key} is not finite{where}; remove or mend this frame")
        try:
            complete_cell(np.asarray(s.cell, float), np.asarray(s.periodic, bool))
        except StructureError as error:
            raise DatasetError(f"{s.name}: {error}") from None
        if s.density is not None and (np.ndim(s.density) != 3 or not np.isfinite(s.density).all()):
            raise DatasetError(
                f"{s.name}: density has shape {np.shape(s.density)}; it must be finite numbers on a grid, (n1, n2, n3)"
            )
        if s.forces is None and labelled is not None and not s.isolated:
            raise DatasetError(
                f"{s.name} has no forces, but {labelled.name} has: label every frame with forces or none "
                "(energies alone are fine)"
            )


def elements_of(structures: Sequence[Structure]) -> tuple[str, ...]:
    """The elements present, by atomic number; isolated atoms count only where there is nothing else."""
    bound = [s for s in structures if not s.isolated] or structures
    return tuple(sorted({symbol for s in bound for symbol in s.symbols}, key=ATOMIC_NUMBERS.__getitem__))


def natural_cutoff(structures: Sequence[Structure]) -> float:
    """Å, to one decimal: the distance within which an atom of these structures has 30 neighbours on average, but
    between 5 and 6 Å. Isolated atoms do not count.

    A loose crystal is seen as far, in shells of neighbours, as a dense one.

    Raises:
        DatasetError: a cell without volume, or positions that are not finite; the text names the frame.
    """
    bound = [s for s in structures if not s.isolated] or structures
    chosen = bound[:: max(1, len(bound) // SAMPLED)]
    distances = []
    for s in chosen:
        try:
            i, j, shifts = neighbor_pairs(s.positions, s.cell, s.periodic, CUTOFFS[1])
        except StructureError as error:
            raise DatasetError(f"{s.name}: {error}") from None
        distances.append(np.linalg.norm(pair_vectors(s.positions, s.cell, i, j, shifts), axis=1))
    wanted = ENOUGH_NEIGHBORS * sum(len(s) for s in chosen)
    found = np.sort(np.concatenate(distances))
    reached = found[wanted] if len(found) > wanted else CUTOFFS[1]
    return round(float(np.clip(reached, *CUTOFFS)), 1)


def reference_energies(structures: Sequence[Structure], elements: Sequence[str]) -> Float[np.ndarray, " S"]:
    """Energy of each element (eV/atom): of its isolated atom where such a frame is given, else by least squares.

    The energy per atom of each structure is fitted by its composition. Where compositions do not tell elements apart
    (one compound only), the solution closest to one common energy is taken.

    Example:
        >>> def crystal(symbols, energy):
        ...     n = len(symbols)
        ...     return Structure(np.zeros((n, 3)), np.eye(3), np.ones(3, bool), tuple(symbols), energy)
        >>> reference_energies([crystal("HHO", -12.0), crystal("OO", -8.0)], ["H", "O"]).tolist()
        [-4.0, -4.0]
    """
    counts = np.array([[s.symbols.count(e) for e in elements] for s in structures], float)
    energies = np.array([s.energy for s in structures], float)
    isolated = np.array([s.isolated for s in structures])
    fixed = np.zeros(len(elements), bool)
    result = np.zeros(len(elements))
    for index in range(len(elements)):
        rows = isolated & (counts[:, index] == 1)
        if rows.any():
            fixed[index], result[index] = True, energies[rows].mean()
    if fixed.all():
        return result
    rows = ~isolated
    sizes = counts[rows].sum(axis=1)
    residual = (energies[rows] - counts[rows] @ result) / sizes
    fractions = counts[rows][:, ~fixed] / sizes[:, None]
    common = residual.sum() / max(fractions.sum(), 1e-300)
    result[~fixed] = common + np.linalg.lstsq(fractions, residual - common * fractions.sum(axis=1), rcond=1e-6)[0]
    return result


def fingerprint(structures: Sequence[Structure]) -> str:
    """SHA-256 of all that is trained on, for provenance and to tell whether a checkpoint fits."""
    digest = hashlib.sha256()
    for s in structures:
        digest.update(" ".join(s.symbols).encode())
        for value in (
            s.positions,
            s.cell,
            s.periodic,
            s.energy,
            s.forces,
            s.virial,
            *([] if s.density is None else [s.density]),
            *([] if s.weight == 1.0 else [s.weight]),
        ):
            digest.update(b"-" if value is None else np.ascontiguousarray(value, float).tobytes())
    return digest.hexdigest()
