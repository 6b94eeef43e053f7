"""The frames of a file, or of a folder, as ASE atoms: which reader a name means."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax_models.errors import DatasetError
from jaxff.compression import OPENERS


def read_frames(path: str | os.PathLike) -> list[Any]:
    """All frames of ``path`` as ASE atoms: a file that ASE reads, one of VASP, an ASE database, MACE's HDF5, fairchem's
    LMDB of ASE rows, or a folder of DeePMD.

    Raises:
        DatasetError: the file is missing, cannot be read, or has no frames.
    """
    place = Path(path)
    try:
        frames = _reader(place)(place)
    except FileNotFoundError as error:
        inside = f" ({error.filename} is missing)" if place.exists() else ""
        raise DatasetError(f"there is no file {path}{inside}") from None
    except DatasetError:
        raise
    except Exception as error:  # each of ASE's formats, and each decompressor, raises its own types
        raise DatasetError(f"cannot read {path}: {type(error).__name__}: {error}") from None
    if not frames:
        raise DatasetError(f"{path} is empty: it has no frames")
    return frames


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files in a folder."""
    if not path.is_dir():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    whole = hashlib.sha256()
    for part in sorted(part for part in path.rglob("*") if part.is_file()):
        whole.update(f"{part.relative_to(path).as_posix()} {digest(part)}\n".encode())
    return whole.hexdigest()


def _reader(path: Path) -> Callable[[Path], list[Any]]:
    suffix = path.suffix.lower()
    if path.is_dir():
        from jaxff.io.deepmd import read_deepmd

        return read_deepmd
    if suffix in (".h5", ".hdf5"):
        from jaxff.io.mace_hdf5 import read_mace

        return read_mace
    if suffix in (".db", ".aselmdb"):
        from jaxff.io.ase_database import read_database

        return read_database
    if suffix in (".lmdb", ".mdb"):
        raise DatasetError(
            f"{path} holds pickles, as LMDB files of OCP and MACE do, which can run code and are not read; write it "
            "as .aselmdb, an ASE database or extended XYZ by the package that made it"
        )
    # As ASE knows them; compressed ones, too.
    if "OUTCAR" in path.name or ("vasp" in path.name and ".xml" in path.name):
        from jaxff.io.vasp import read_vasp

        return read_vasp
    return _read_by_ase


def _read_by_ase(path: Path) -> list[Any]:
    import ase.io

    # ASE seeks in what it reads; in a compressed file each seek unpacks it from the start.
    text = _unpacked(path)
    frames: Any
    if text is None:
        frames = ase.io.read(os.fspath(path), ":")
    else:
        frames = ase.io.read(io.StringIO(text), ":", format="extxyz")
    return frames


def _unpacked(path: Path) -> str | None:
    """The text of a compressed extended XYZ; None where ``path`` is anything else."""
    if path.suffix not in OPENERS or Path(path.stem).suffix not in (".xyz", ".extxyz"):
        return None
    with OPENERS[path.suffix](path, "rt", encoding="utf-8") as file:
        return file.read()
