"""Names as people type them: found whatever their case, and guessed at where they are wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def spelled(name: object, allowed: Iterable[str]) -> str | None:
    """The one of ``allowed`` that ``name`` means, upper and lower case being the same; None if there is none.

    Example:
        >>> spelled("ACE", ["ace", "acsf"])
        'ace'
    """
    folded = {known.casefold(): known for known in allowed}
    return folded.get(str(name).casefold())


def guess(name: object, allowed: Iterable[str]) -> str:
    """A question after an error message, where one of ``allowed`` resembles ``name``; else nothing.

    Example:
        >>> guess("learning_rat", ["epochs", "learning_rate"])
        '; did you mean learning_rate?'
    """
    folded = {known.casefold(): known for known in allowed}
    near = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean {folded[near[0]]}?" if near else ""
