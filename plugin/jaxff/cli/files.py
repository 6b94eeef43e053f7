"""What the subcommands read and write: structure files in, JSON out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jax_models.errors import StructureError

if TYPE_CHECKING:
    from ase import Atoms


def read_structure(path: Path) -> Atoms:
    """The one structure in ``path``, which may be of any format that ASE reads.

    Raises:
        DatasetError: the file is missing, is of no known format, or is damaged.
        StructureError: it holds several structures, or one without atoms.
    """
    from jaxff.io import read_frames

    frames = read_frames(path)
    if len(frames) > 1:
        raise StructureError(f"{path} holds {len(frames)} structures; give a file with one")
    if not len(frames[0]):
        raise StructureError(f"the structure in {path} has no atoms")
    return frames[0]


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write ``data`` as JSON, replacing an old file only when the new one is complete."""
    from jax_models.model_file import write_atomically

    write_atomically(path, (json.dumps(data, indent=2, allow_nan=False) + "\n").encode())
