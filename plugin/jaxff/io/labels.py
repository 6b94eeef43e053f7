"""Where a frame's labels stand, and what they must look like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from jax_models.errors import DatasetError
from jaxff.spelling import guess


@dataclass(frozen=True)
class Labels:
    """Under which names a frame's labels stand: in ``atoms.calc``'s results, ``atoms.info`` or ``atoms.arrays``."""

    energy_key: str = "energy"
    forces_key: str = "forces"
    stress_key: str = "stress"
    """ASE's sign, eV/Å^3: 6 numbers (xx yy zz yz xz xy), 9, or 3x3."""
    density_key: str = "energy_density"
    """An array (n1, n2, n3), eV/Å^3, on a grid over the cell: for models that look from a grid."""
    virial_key: str = "virial"
    """Minus stress times volume, eV: counts where there is no stress, or where it is the only one that was named."""


def label_of(atoms: Any, key: str) -> Any:
    """What a frame says under ``key``, wherever ASE put it; None where it says nothing."""
    # ASE's extended-xyz reader moves energy, forces and stress into a calculator; other names stay where they were.
    places: Sequence[Any] = (atoms.calc.results if atoms.calc is not None else {}, atoms.info, atoms.arrays)
    return next((place[key] for place in places if place.get(key) is not None), None)


def virial_of(atoms: Any, name: str, labels: Labels) -> Float[np.ndarray, "3 3"] | None:
    """dE/dstrain in eV, where a frame's stress may be used."""
    volume = abs(np.linalg.det(atoms.cell.array))
    if str(atoms.info.get("stress_flag", "ok")) != "ok" or not atoms.pbc.all() or volume < 1e-8:
        return None
    kinds = [(labels.stress_key, volume), (labels.virial_key, -1.0)]
    if labels.stress_key == Labels.stress_key and labels.virial_key != Labels.virial_key:
        kinds.reverse()
    for key, factor in kinds:
        value = label_of(atoms, key)
        if value is not None:
            return factor * matrix(value, f"{name}: {key}")
    return None


def matrix(value: Any, what: str) -> Float[np.ndarray, "3 3"]:
    """A stress or virial of 6 numbers (xx yy zz yz xz xy), 9, or 3x3.

    Raises:
        DatasetError: it has another shape; the text begins with ``what``.
    """
    value = np.asarray(value, float)
    if value.shape == (6,):
        xx, yy, zz, yz, xz, xy = value
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if value.size == 9:
        return value.reshape(3, 3)
    raise DatasetError(f"{what} has shape {value.shape}; it must have 6 numbers (xx yy zz yz xz xy), 9, or 3x3")


def label_names(frames: Iterable[Any]) -> list[str]:
    """Everything that any of ``frames`` carries beside elements and positions."""
    found: set[str] = set()
    for atoms in frames:
        found |= {*(atoms.calc.results if atoms.calc is not None else ()), *atoms.info, *atoms.arrays}
    return sorted(found - {"numbers", "positions", "config_type"})


def check_asked(frames: Sequence[Any], asked: Mapping[str, str]) -> None:
    """Refuse names of labels that a user gave and no frame has.

    Args:
        asked: the setting or option, and the name that it was given.

    Raises:
        DatasetError: no frame has a label of that name; the text has those that there are.
    """
    names = label_names(frames)
    for setting, name in asked.items():
        if name not in names:
            raise DatasetError(
                f"{setting} is {name!r}, but no frame has that; they have {', '.join(names) or 'no labels'}"
                f"{guess(name, names)}"
            )


def options_of(labels: Labels) -> dict[str, str]:
    """The options that gave ``labels`` names other than the usual ones, for `check_asked`."""
    kinds = ("energy", "forces", "stress", "virial")
    names = {kind: getattr(labels, f"{kind}_key") for kind in kinds}
    return {f"--{kind}-key": name for kind, name in names.items() if name != getattr(Labels, f"{kind}_key")}
