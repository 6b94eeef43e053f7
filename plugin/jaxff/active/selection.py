"""Which of many structures to label: those that together tell most, by D-optimality."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

WORST = 8
"""Atoms of a structure that speak for it."""
SWEEPS = 5
"""Through the chosen structures, at most."""
WORTHWHILE = 1e-6
"""Of the log determinant, that an exchange must add: less is rounding."""


def most_informative(
    environments: Sequence[Float[np.ndarray, "A F"]], known: Float[np.ndarray, "N F"], number: int
) -> list[int]:
    """Indices of ``number`` structures, each chosen for what those before it leave open.

    The determinant of the information matrix is made large, first greedily, then by exchanges (Fedorov, Theory of
    optimal experiments (1972)): a structure's gain is the log determinant that its atoms add to the others' matrix.
    MaxVol (Goreinov et al., 2010; Podryabinkin, Shapeev, Comput. Mater. Sci. 140, 171 (2017)) is the case of square
    matrices: as many single environments as features.

    Args:
        environments: features of the most uncertain atoms of each structure, whitened by the training.
        known: features of atoms that are labelled already, whitened alike.
        number: of structures, at most.

    Example:
        >>> same, other = np.eye(2)[:1], np.eye(2)[1:]
        >>> most_informative([same, same, other], np.zeros((0, 2)), 2)
        [0, 2]
    """
    n_features = known.shape[1]
    # One environment of unit size is what is known of every direction beforehand.
    information = np.eye(n_features) + known.T @ known / max(len(known), 1)
    inverse = np.linalg.inv(information)
    left = list(range(len(environments)))
    chosen: list[int] = []
    while left and len(chosen) < number:
        gains = [_gain(environments[index], inverse) for index in left]
        best = int(np.argmax(gains))
        if not gains[best] > 0:
            break
        index = left.pop(best)
        chosen.append(index)
        rows = environments[index]
        # Woodbury: the inverse with these rows added.
        solved = inverse @ rows.T
        inverse = inverse - solved @ np.linalg.solve(np.eye(len(rows)) + rows @ solved, solved.T)
    return _exchanged(chosen, left, environments, information)


def _exchanged(
    chosen: list[int],
    left: list[int],
    environments: Sequence[Float[np.ndarray, "A F"]],
    information: Float[np.ndarray, "F F"],
) -> list[int]:
    """One chosen structure after another gives its place to one that adds more beside the rest, while there is one."""
    chosen, left = list(chosen), list(left)
    for _ in range(SWEEPS):
        before = list(chosen)
        for place in range(len(chosen)):
            rest = [environments[index] for index in chosen[:place] + chosen[place + 1 :]]
            inverse = np.linalg.inv(information + sum(rows.T @ rows for rows in rest))
            gains = [_gain(environments[index], inverse) for index in left]
            if gains and max(gains) > _gain(environments[chosen[place]], inverse) + WORTHWHILE:
                best = int(np.argmax(gains))
                chosen[place], left[best] = left[best], chosen[place]
        if chosen == before:
            break
    return chosen


def _gain(rows: Float[np.ndarray, "A F"], inverse: Float[np.ndarray, "F F"]) -> float:
    return float(np.linalg.slogdet(np.eye(len(rows)) + rows @ inverse @ rows.T)[1])
