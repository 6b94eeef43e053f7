"""Labelled structures from any file that ASE reads."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jax_models.errors import DatasetError
from jax_models.training.data.structures import Structure
from jaxff.compression import OPENERS
from jaxff.spelling import guess

CHARGES = ("charge", "total_charge", "net_charge")


@dataclass(frozen=True)
class Labels:
    """Under which names a frame's labels stand: in ``atoms.calc``'s results, ``atoms.info`` or ``atoms.arrays``."""

    energy_key: str = "energy"
    forces_key: str = "forces"
    stress_key: str = "stress"
    """ASE's sign, eV/Å^3: 6 numbers (xx yy zz yz xz xy), 9, or 3x3."""
    density_key: str = "energy_density"
    """An array (n1, n2, n3), eV/Å^3, on a grid over the cell: for models that look from a grid."""


def read_structures(path: str | os.PathLike, labels: Labels | None = None) -> list[Structure]:
    """The labelled frames of ``path`` (.xyz, .xyz.xz, .extxyz, .traj, ... whatever `ase.io.read` opens).

    A frame's stress is used unless its ``stress_flag`` is other than "ok": then it is known to be wrong or to mean
    little (a slab), and only energy and forces count. Without a stress, a ``virial`` (= -stress x volume) is taken.

    Raises:
        DatasetError: the file cannot be read, has no frames, or a frame has no energy; the text names the frame.
    """
    return [structure_of(atoms, f"{path}, frame {n}", labels) for n, atoms in enumerate(read_frames(path))]


def read_teacher_frames(
    path: str | os.PathLike, labels: Labels | None = None
) -> tuple[list[dict[str, Any]], list[Structure]]:
    """The frames of ``path``, with or without labels of their own, and what teachers say of each.

    Returns:
        For each frame a dictionary from a teacher's name to its ``energy``, ``forces`` and ``virial`` (None where
        missing), as `jaxff label` wrote them; and its structure, whose energy is not a number where the frame has none.

    Raises:
        DatasetError: the file cannot be read, a label has the wrong shape or is not finite, or a frame has neither an
            energy nor a teacher's; the text names the frame.
    """
    labels = labels or Labels()
    teachers, structures = [], []
    for number, atoms in enumerate(read_frames(path)):
        name = f"{path}, frame {number}"
        teachers.append(_teacher_answers(atoms, name))
        energy = label_of(atoms, labels.energy_key)
        if energy is None and teachers[-1]:
            atoms = atoms.copy()
            atoms.info[labels.energy_key] = np.nan
        elif np.isscalar(energy) and not np.isfinite(energy):
            raise DatasetError(f"{name}: {labels.energy_key} is not finite; remove or mend this frame")
        structures.append(structure_of(atoms, name, labels))
    return teachers, structures


def _teacher_answers(atoms: Any, name: str) -> dict[str, Any]:
    result = {}
    periodic = atoms.pbc.all()
    for key, energy in atoms.info.items():
        teacher = key.removeprefix("energy_")
        if teacher == key or not isinstance(energy, int | float | np.number):
            continue
        forces, stress = atoms.arrays.get(f"forces_{teacher}"), atoms.info.get(f"stress_{teacher}")
        virial = (
            None
            if stress is None or not periodic
            else _matrix(stress, f"{name}: stress_{teacher}") * atoms.get_volume()
        )
        for what, value, shape in (
            ("energy", energy, ()),
            ("forces", forces, (len(atoms), 3)),
            ("stress", virial, (3, 3)),
        ):
            if value is not None and (np.shape(value) != shape or not np.isfinite(np.asarray(value, float)).all()):
                raise DatasetError(
                    f"{name}: {what}_{teacher} is not finite or has the wrong shape; label this frame again"
                )
        result[teacher] = {"energy": float(energy), "forces": forces, "virial": virial}
    return result


def read_frames(path: str | os.PathLike) -> list[Any]:
    """All frames of ``path`` as ASE atoms.

    Raises:
        DatasetError: the file is missing, cannot be read, or has no frames.
    """
    import ase.io

    try:
        # ASE seeks in what it reads; in a compressed file each seek unpacks it from the start.
        text = _unpacked(Path(path))
        frames: Any
        if text is None:
            frames = ase.io.read(os.fspath(path), ":")
        else:
            frames = ase.io.read(io.StringIO(text), ":", format="extxyz")
    except FileNotFoundError:
        raise DatasetError(f"there is no file {path}") from None
    except Exception as error:  # each of ASE's formats, and each decompressor, raises its own types
        raise DatasetError(f"cannot read {path}: {type(error).__name__}: {error}") from None
    if not frames:
        raise DatasetError(f"{path} is empty: it has no frames")
    return frames


def _unpacked(path: Path) -> str | None:
    """The text of a compressed extended XYZ; None where ``path`` is anything else."""
    if path.suffix not in OPENERS or Path(path.stem).suffix not in (".xyz", ".extxyz"):
        return None
    with OPENERS[path.suffix](path, "rt", encoding="utf-8") as file:
        return file.read()


def structure_of(atoms: Any, name: str, labels: Labels | None = None) -> Structure:
    """One frame as plain arrays.

    Raises:
        DatasetError: it has no energy, or labels of the wrong shape.
    """
    labels = labels or Labels()
    energy = label_of(atoms, labels.energy_key)
    if energy is None:
        present = sorted(
            {*(atoms.calc.results if atoms.calc else ()), *atoms.info, *atoms.arrays} - {"numbers", "positions"}
        )
        raise DatasetError(
            f"{name} has no energy: there is no {labels.energy_key!r} among its labels "
            f"({', '.join(present) or 'none'}). "
            "Set data.energy_key to the right name, or remove the frame"
        )
    if np.ndim(energy) != 0 or not np.issubdtype(np.asarray(energy).dtype, np.number):
        raise DatasetError(f"{name}: {labels.energy_key} is {energy!r}; it must be one number in eV")
    forces, density = label_of(atoms, labels.forces_key), label_of(atoms, labels.density_key)
    return Structure(
        positions=np.array(atoms.positions, float),
        cell=np.array(atoms.cell.array, float),
        periodic=np.array(atoms.pbc, bool),
        symbols=tuple(atoms.get_chemical_symbols()),
        energy=float(energy),
        forces=None if forces is None else np.array(forces, float),
        virial=virial_of(atoms, name, labels),
        density=None if density is None else np.array(density, float),
        group=str(atoms.info.get("config_type", "")),
        charge=_charge(atoms),
        name=name,
    )


def _charge(atoms: Any) -> float:
    """The net charge that a frame's line tells."""
    found = next((atoms.info[key] for key in CHARGES if key in atoms.info), 0.0)
    return float(found) if isinstance(found, int | float | np.number) else 0.0


def virial_of(atoms: Any, name: str, labels: Labels) -> np.ndarray | None:
    """dE/dstrain in eV, where a frame's stress may be used."""
    volume = abs(np.linalg.det(atoms.cell.array))
    if str(atoms.info.get("stress_flag", "ok")) != "ok" or not atoms.pbc.all() or volume < 1e-8:
        return None
    stress = label_of(atoms, labels.stress_key)
    if stress is not None:
        return _matrix(stress, f"{name}: {labels.stress_key}") * volume
    virial = label_of(atoms, "virial")
    return None if virial is None else -_matrix(virial, f"{name}: virial")


def _matrix(value: Any, what: str) -> np.ndarray:
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


def label_of(atoms: Any, key: str) -> Any:
    """What a frame says under ``key``, wherever ASE put it; None where it says nothing."""
    # ASE's extended-xyz reader moves energy, forces and stress into a calculator; other names stay where they were.
    places: Sequence[Any] = (atoms.calc.results if atoms.calc is not None else {}, atoms.info, atoms.arrays)
    return next((place[key] for place in places if place.get(key) is not None), None)
