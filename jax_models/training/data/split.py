"""Which structures are trained on, and which validate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from jax_models.training.data.duplicates import equal_structures
from jax_models.training.data.structures import Structure


def split(structures: Sequence[Structure], fraction: float, seed: int) -> tuple[list[Structure], list[Structure]]:
    """Training and validation parts: ``fraction`` of each group at random; isolated atoms always train.

    Equal structures (`equal_structures`) stay together: a copy of what was trained on validates nothing. A group too
    small to give a whole structure (fewer than 1/``fraction``) gives none: every one counts there.
    """
    groups: dict[str, list[list[int]]] = defaultdict(list)
    bound = [index for index, structure in enumerate(structures) if not structure.isolated]
    for places in equal_structures([structures[index] for index in bound]):
        equal = [bound[place] for place in places]
        groups[structures[equal[0]].group].append(equal)
    generator = np.random.default_rng([seed, 1])
    held_out: set[int] = set()
    for name in sorted(groups):
        room = int(fraction * sum(map(len, groups[name])) + 1e-9)
        for place in generator.permutation(len(groups[name])):
            equal = groups[name][place]
            if len(equal) <= room:
                held_out.update(equal)
                room -= len(equal)
    train = [s for i, s in enumerate(structures) if i not in held_out]
    return train, [structures[i] for i in sorted(held_out)]
