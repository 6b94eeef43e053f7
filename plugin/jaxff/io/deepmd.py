"""Folders in DeePMD-kit's npy format: type.raw and type_map.raw, and arrays of frames in set.*/.

Format: https://docs.deepmodeling.com/projects/deepmd/en/stable/data/data-conv.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jax_models.elements import ATOMIC_NUMBERS
from jax_models.errors import DatasetError


def read_deepmd(folder: Path) -> list[Any]:
    """The frames of a system, or of all systems below a folder; ``system`` in ``atoms.info`` says of which.

    DeePMD's virial is minus stress times volume, the convention here, too.

    Raises:
        DatasetError: there is no system, a file is missing, or an array has the wrong shape; the text names it.
    """
    systems = sorted(path.parent for path in folder.rglob("type.raw"))
    if not systems:
        raise DatasetError(f"{folder} is a folder without a type.raw: give a file, or a folder in DeePMD's npy format")
    return [atoms for system in systems for atoms in _frames(system, system.relative_to(folder).as_posix())]


def _frames(system: Path, name: str) -> list[Any]:
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    types, elements = np.loadtxt(system / "type.raw", dtype=int, ndmin=1), _elements(system)
    n, periodic = len(types), not (system / "nopbc").exists()
    sets = sorted(path for path in system.glob("set.*") if path.is_dir())
    if not sets:
        raise DatasetError(f"{system} has no set.*: text files (*.raw) are made to arrays by DeePMD's raw_to_set.sh")
    frames = []
    for place in sets:
        positions = _array(place, "coord", (-1, n, 3))
        if positions is None:
            raise DatasetError(f"{place} has no coord.npy")
        number = len(positions)
        cells = _array(place, "box", (number, 3, 3)) if periodic else np.zeros((number, 3, 3))
        if cells is None:
            raise DatasetError(f"{place} has no box.npy; a system that is not periodic has an empty file nopbc")
        mixed = _array(place, "real_atom_types", (number, n))
        energies, forces = _array(place, "energy", (number,)), _array(place, "force", (number, n, 3))
        virials = _array(place, "virial", (number, 3, 3))
        for index in range(number):
            kinds = types if mixed is None else mixed[index].astype(int)
            atoms = Atoms(_symbols(kinds, elements, system), positions[index], cell=cells[index], pbc=periodic)
            atoms.info["system"] = name
            given = {} if energies is None else {"energy": float(energies[index])}
            if forces is not None:
                given["forces"] = forces[index]
            if virials is not None and periodic:
                atoms.info["virial"] = virials[index]
            atoms.calc = SinglePointCalculator(atoms, **given)
            frames.append(atoms)
    return frames


def _elements(system: Path) -> list[str]:
    file = system / "type_map.raw"
    if not file.exists():
        raise DatasetError(f"{system} has no type_map.raw: write there the elements of types 0, 1, ..., one a line")
    names = file.read_text().split()
    unknown = [name for name in names if name not in ATOMIC_NUMBERS]
    if unknown:
        raise DatasetError(f"{file} names {', '.join(unknown)}, which is no chemical element; elements are needed here")
    return names


def _symbols(kinds: Int[np.ndarray, " N"], elements: list[str], system: Path) -> list[str]:
    if kinds.min() < 0 or kinds.max() >= len(elements):
        raise DatasetError(f"{system}: types run from {kinds.min()} to {kinds.max()}, but type_map.raw has {elements}")
    return [elements[kind] for kind in kinds]


def _array(place: Path, name: str, shape: tuple[int, ...]) -> Float[np.ndarray, "..."] | None:
    """``place``/``name``.npy in this shape, in double; None where there is none. Pickled objects are refused."""
    file = place / f"{name}.npy"
    if not file.exists():
        return None
    values = np.load(file, allow_pickle=False)
    wanted = int(np.prod(shape[1:]))
    if values.dtype.kind not in "fiu" or values.size % wanted or (shape[0] >= 0 and values.size != shape[0] * wanted):
        of = "" if shape[0] < 0 else f"{shape[0]} frames of "
        raise DatasetError(f"{file} has shape {values.shape}; expected are {of}{wanted} numbers")
    return values.reshape(shape).astype(float)
