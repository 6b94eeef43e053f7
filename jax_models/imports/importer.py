"""What a kind of foreign potential file is to `jaxff import`: how it is recognised, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jax_models.potential import Potential

HEAD = 4096
"""Bytes from the beginning of a file by which its kind is recognised."""


@dataclass(frozen=True)
class Importer:
    """One kind of file."""

    name: str
    """For messages, e.g. "MACE (mace-torch)"."""
    recognises: Callable[[Path, bytes], bool]
    """From the path and the first ``HEAD`` bytes; takes no other file for its own."""
    read: Callable[..., Potential]
    """``read(path, **options)``; raises `ModelFileError` where the file cannot be converted exactly."""
    options: tuple[str, ...] = ()
    """Names of the options that ``read`` takes."""


def is_torch(head: bytes) -> bool:
    """Whether a file that begins so may be one of ``torch.save``: a zip, which this format shares with others."""
    return head.startswith(b"PK\x03\x04") and b"data.pkl" in head
