"""How many points a grid keeps while its cell changes: a change of the number is a small step in the energy.

A relaxation or a finite strain must not meet that step because a length crossed a multiple of the spacing. The
number is a property of one system: whoever follows a system keeps its counts, and shares them with nobody.
"""

from __future__ import annotations

from collections.abc import Iterable

SLACK = 1.05
"""How much coarser than asked for a grid may become before its number of points changes."""
WASTE = 1.4
"""And how much finer; one point more than needed is always kept."""


def kept_counts(
    old: tuple[int, int, int] | None, fresh: Iterable[int], lengths: Iterable[float], spacing: float
) -> tuple[int, int, int]:
    """The numbers of points to use along the three cell vectors, each decided by itself.

    Args:
        old: numbers in use so far; None where a system begins.
        fresh: numbers that the cell would get if it were the first; 0 along directions without a number of their own.
        lengths: of the cell vectors (Å).
        spacing: the largest distance (Å) between points that was asked for.

    Example:
        >>> kept_counts(None, (6, 6, 0), (5.01, 5.01, 9.0), 1.0)
        (6, 6, 0)
        >>> kept_counts((5, 7, 0), (6, 6, 0), (5.01, 5.01, 9.0), 1.0)
        (5, 7, 0)
        >>> kept_counts((5, 5, 5), (6, 6, 6), (5.3, 5.2, 5.2), 1.0)
        (6, 5, 5)
    """
    needed = [int(n) for n in fresh]
    counts = [
        int(n_kept if old is not None and _suits(n_kept, n, length, spacing) else n)
        for n_kept, n, length in zip(needed if old is None else old, needed, lengths, strict=True)
    ]
    return counts[0], counts[1], counts[2]


def _suits(kept: int, needed: int, length: float, spacing: float) -> bool:
    if kept < 1 or needed < 1:
        return kept == needed
    return SLACK * kept * spacing >= length and kept <= max(WASTE * needed, needed + 1)
