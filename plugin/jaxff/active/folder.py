"""The folder of a run: all that it knows is in these files, each written at once and never changed."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read, write

from jax_models.errors import ConfigError
from jax_models.model_file import write_atomically


class Folder:
    """Paths and files of a run.

    ``ROOT/round-NNN/`` holds ``train.xyz`` and ``valid.xyz`` (all that is labelled by then), ``model.jaxff``,
    ``explored/NAME.xyz`` with ``NAME.json``, ``selected.xyz``, ``labels/N.jsonl`` (answers, as they come in),
    ``labelled.xyz`` and ``round.json``. What is there is done; a run that begins again goes on with what is missing.
    """

    def __init__(self, root: Path):
        self.root = root

    def round(self, number: int, *names: str) -> Path:
        path = self.root.joinpath(f"round-{number:03d}", *names)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def rounds(self) -> Path:
        """One JSON record a round."""
        return self.root / "rounds.jsonl"

    def journals(self) -> list[Path]:
        return sorted(self.root.glob("round-*/labels/*.jsonl"))


@contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Keeps a second `jaxff active` out of the folder until the block ends, or the process does, however.

    Raises:
        ConfigError: one is at work here.
    """
    with (root / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another jaxff active is at work in {root}; wait for it, or end it") from None
        except OSError:
            pass  # a file system without locks
        yield


def identity(atoms: Atoms) -> str:
    """A structure's id: the same atoms at the same places, to 1e-6 Å, have the same, in memory and in a file."""
    digest = hashlib.sha256()
    for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc):
        digest.update((np.round(np.asarray(array, float), 6) + 0.0).tobytes())
    return f"s{digest.hexdigest()[:16]}"  # a letter first: extended XYZ reads digits as a number


def write_frames(path: Path, frames: Sequence[Atoms]) -> None:
    """Extended XYZ, complete or not at all."""
    text = io.StringIO()
    if frames:
        write(text, list(frames), format="extxyz")
    write_atomically(path, text.getvalue().encode())


def read_frames(path: Path) -> list[Atoms]:
    """What `write_frames` wrote, also where that was nothing."""
    return read(path, ":", format="extxyz") if path.stat().st_size else []  # type: ignore[return-value]


def write_record(path: Path, record: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(record, indent=1).encode())


def read_record(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes())
