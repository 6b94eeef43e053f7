"""How much memory training data take with their neighbours: a cutoff that does not fit is refused in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jax_models.errors import ConfigError
from jax_models.training.data.batches import MINIMUM_ATOMS
from jax_models.training.data.structures import Structure

KEPT_BYTES = 80
"""Of one neighbour in the prepared data and in their batches: its vector, index, mask and the place of the reverse
pair."""
FOUND_BYTES = 120
"""Of one neighbour of the structure whose neighbours are being found."""
STEP_BYTES = 2000
"""Of one neighbour in a batch, in a step of training. ACE with its default settings takes 560; with more functions a
descriptor takes more."""
SMALLEST_CUTOFF = 0.5


@dataclass(frozen=True)
class Neighbors:
    """Neighbours of a data set within a cutoff, estimated from densities.

    ``average`` is of an atom; ``total`` of all rows, ``largest`` of the structure that has most, ``batch`` of a batch.
    """

    average: float
    total: float
    largest: float
    batch: float

    @staticmethod
    def of(structures: Sequence[Structure], cutoff: float, spacing: float, batch_structures: int) -> Neighbors:
        """``spacing`` (Å) is that of a grid's points, 0 where the rows are atoms."""
        sizes = np.array([len(s) for s in structures], float)
        within = np.array([_within(s, cutoff) for s in structures])
        rows = np.array([abs(np.linalg.det(s.cell)) / spacing**3 for s in structures]) if spacing else sizes
        entries = rows * within
        in_batch = max(batch_structures * rows.mean(), rows.max(), min(MINIMUM_ATOMS, rows.sum() / 8))
        average = float((sizes * within).sum() / max(sizes.sum(), 1))
        # Every row of a batch has room for the neighbours of the densest.
        return Neighbors(average, float(entries.sum()), float(entries.max()), float(in_batch * within.max()))

    @property
    def bytes(self) -> float:
        return KEPT_BYTES * self.total + FOUND_BYTES * self.largest + STEP_BYTES * self.batch


def _within(s: Structure, cutoff: float) -> float:
    """Neighbours of an atom of ``s``: the mean density in a sphere, no more than there are where nothing repeats."""
    periodic = np.asarray(s.periodic, bool)
    if not periodic.any():
        return float(min(len(s) - 1, 0.6 * cutoff**3))
    if periodic.all():
        return len(s) / max(abs(np.linalg.det(s.cell)), 1e-3) * 4.19 * cutoff**3
    lengths = np.linalg.norm(np.asarray(s.cell, float)[periodic], axis=1)
    images = float(np.prod(np.maximum(2 * cutoff / np.maximum(lengths, 1e-3), 1.0)))
    return min(len(s) * images, 0.6 * cutoff**3)


def check_memory(
    structures: Sequence[Structure], cutoff: float, spacing: float = 0.0, batch_structures: int = 1
) -> Neighbors:
    """The neighbours of ``structures`` within ``cutoff`` (Å), if they fit into this machine's memory.

    Raises:
        ConfigError: they do not; the text says which cutoff would.
    """
    free = available_memory()

    def fits(distance: float, batch: int = batch_structures) -> bool:
        return Neighbors.of(structures, distance, spacing, batch).bytes < free

    found = Neighbors.of(structures, cutoff, spacing, batch_structures)
    if found.bytes < free:
        return found
    needed = f"would take about {_size(found.bytes)} of memory, of which {_size(free)} are free"
    if fits(cutoff, 1):
        raise ConfigError(f"training.batch_structures is {batch_structures}: a step of training {needed}; use fewer")
    low, high = 0.0, cutoff
    while high - low > 0.05:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    advice = f"up to {low:.1f} Å would fit" if low > SMALLEST_CUTOFF else "the data are too large for this machine"
    raise ConfigError(
        f"model.cutoff is {cutoff:g} Å: an atom of these structures would have about {found.average:.3g} neighbours, "
        f"and training {needed}; {advice}, and 4 to 8 Å are common"
    )


def available_memory() -> float:
    """Bytes that this process may still take: of the machine, and of the container that it runs in."""
    limits = [np.inf]
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        limits.append(1024.0 * int(lines["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):
        pass
    for folder, limit, used in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            allowed, taken = (int(Path(folder, name).read_text()) for name in (limit, used))
            counted = dict(line.split() for line in Path(folder, "memory.stat").read_text().splitlines())
            # Files that were read count as taken, but make room when it is needed.
            limits.append(float(allowed - taken + int(counted["inactive_file"])))
        except (OSError, ValueError, KeyError):
            continue
    return max(min(limits), 0.0)


def _size(count: float) -> str:
    return f"{count / 2**30:.3g} GiB"
