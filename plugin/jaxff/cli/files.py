"""What the subcommands read and write: structure files in, JSON out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jax_models.errors import StructureError

if TYPE_CHECKING:
    from ase import Atoms


def read_structures(path: Path) -> list[Atoms]:
    """Every structure in ``path``, which may be of any format that ASE reads.

    Raises:
        StructureError: the file is missing, is of no known format, is damaged, or holds no atoms.
    """
    from ase.io import read

    try:
        structures = read(path, index=":")
    except FileNotFoundError:
        raise StructureError(f"there is no file {path}") from None
    except Exception as error:  # each of ASE's readers has its own way to fail
        reason = " ".join(str(error).split()) or type(error).__name__
        raise StructureError(f"cannot read structures from {path}: {reason}") from None
    if not structures or not all(len(atoms) for atoms in structures):
        raise StructureError(f"{path} holds no structure, or one without atoms")
    return structures


def read_structure(path: Path) -> Atoms:
    """The one structure in ``path``.

    Raises:
        StructureError: as `read_structures`, or there are several.
    """
    structures = read_structures(path)
    if len(structures) > 1:
        raise StructureError(f"{path} holds {len(structures)} structures; give a file with one")
    return structures[0]


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write ``data`` as JSON, replacing an old file only when the new one is complete."""
    from jax_models.model_file import write_atomically

    write_atomically(path, (json.dumps(data, indent=2, allow_nan=False) + "\n").encode())
