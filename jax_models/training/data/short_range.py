"""The repulsion that a model gets by default: below the distances of the data, where nothing can be learned."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jax_models.models import sees_grid, sees_whole_cell
from jax_models.priors.zbl import pair_name, repulsion
from jax_models.training.data.batches import Batch
from jax_models.training.data.grid_batches import GridBatch


def with_repulsion(
    architecture: dict[str, Any], elements: Sequence[str], cutoff: float, batches: Iterable[Batch | GridBatch]
) -> dict[str, Any]:
    """``architecture`` with ZBL where it says nothing of priors and has neighbours for them to act on.

    Args:
        cutoff: Å.
        batches: all that is trained on; their shortest distances bound the repulsion.

    Example:
        >>> with_repulsion({"priors": []}, ("Si",), 5.0, [])
        {'priors': []}
        >>> with_repulsion({}, ("Si",), 5.0, [])["priors"]
        [{'name': 'zbl', 'inner': {'Si-Si': 1.776}, 'outer': {'Si-Si': 2.22}}]
    """
    if "priors" in architecture or sees_whole_cell(architecture) or sees_grid(architecture):
        return architecture
    return {**architecture, "priors": [repulsion(elements, cutoff, shortest_distances(elements, batches))]}


def shortest_distances(elements: Sequence[str], batches: Iterable[Batch | GridBatch]) -> dict[str, float]:
    """Å: of each pair of elements that come within the cutoff of each other, under `pair_name`."""
    kinds = list(itertools.combinations_with_replacement(range(len(elements)), 2))
    found: dict[str, float] = {}
    for batch in batches:
        nb = batch.neighborhood
        distances = np.where(nb.mask, np.linalg.norm(np.asarray(nb.vectors, float), axis=-1), np.inf)
        for a, b in kinds:
            of_kind = (np.asarray(nb.species)[:, None] == a) & (np.asarray(nb.neighbor_species) == b)
            least = distances.min(where=of_kind, initial=np.inf)
            if np.isfinite(least):
                name = pair_name(elements[a], elements[b])
                found[name] = min(found.get(name, np.inf), float(least))
    return found
