"""Environments seen from the atoms: the usual local model."""

from __future__ import annotations

from typing import ClassVar


class Atoms:
    """Each atom is a point of weight one; its energy depends on its own element's parameters."""

    defaults: ClassVar[dict] = {}
    centers: ClassVar[str] = "atoms"

    def __init__(self, cutoff: float):
        self.descriptor_cutoff = cutoff
