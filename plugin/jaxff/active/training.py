"""The task that trains: from a round's labelled structures to its potential."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from jaxff.active.folder import read_frames, write_frames

VALIDATES = 8
"""One of so many structures validates, by its id: always the same, whatever else is labelled."""
FRESH = 1.5
"""Where there are so many times more structures than a potential has been trained on from the start, a new one is: the
scales of its features are those of its first data."""


def divided(frames: list[Any]) -> tuple[list[Any], list[Any]]:
    """Training and validation part."""
    parts: tuple[list[Any], list[Any]] = [], []
    for frame in frames:
        parts[int(frame.info["id"][1:], 16) % VALIDATES == 0].append(frame)
    # A handful of structures is all needed.
    return parts if len(parts[1]) and len(frames) >= 2 * VALIDATES else (frames, [])


def write_parts(frames: list[Any], train: Path, valid: Path) -> None:
    kept, held_out = divided(frames)
    write_frames(valid, held_out)
    write_frames(train, kept)


def train_potential(train: str, valid: str, out: str, settings: list[str], start: str | None) -> str:
    """`jaxff train` of ``train`` to ``out``; done before, it is not done again. An unfinished one goes on."""
    from rich.console import Console

    from jaxff.config import load_config
    from jaxff.train.train_files import train_files

    if not Path(out).exists():
        config = load_config(overrides=settings)
        held_out = [Path(valid)] if read_frames(Path(valid)) else []
        console = Console(file=io.StringIO())
        train_files([Path(train)], Path(out), config, held_out, console, Path(start) if start else None)
    return out
