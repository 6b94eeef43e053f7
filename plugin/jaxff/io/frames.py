"""The frames of a file as ASE atoms."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from jax_models.errors import DatasetError
from jaxff.compression import OPENERS


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
