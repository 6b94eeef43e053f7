"""Names of labels that other packages write, recognised where the usual ones are absent, and said.

A name that a user has set is never second-guessed. Of two names with different values none is chosen.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jax_models.errors import DatasetError
from jaxff.io.labels import Labels, label_names, label_of, matrix

logger = logging.getLogger(__name__)
"""The command line prints its notes (`jaxff.cli.notes`)."""

WORDS = {
    "energy": ("energy", "total_energy", "totenergy", "toten", "free_energy"),
    "forces": ("forces", "force"),
    "stress": ("stress",),
    "virial": ("virial", "virials"),
}
SOURCES = ("ref", "dft", "vasp", "qm", "target", "label", "true")
"""What a name has before or after the word, as in REF_energy, energy_ref, dft_forces; capitals do not count."""
GROUPS = {"energy": ("energy",), "forces": ("forces",), "virial": ("stress", "virial")}
"""What is learned, and which labels give it: a stress before a virial."""
TEACHERS = ("energy_", "forces_", "stress_")
"""How `jaxff label` begins the names of what a teacher says: it may be called dft, and is no label all the same."""

Values = list[Any]
"""Of one label: its value in each frame, None where there is none."""


def recognised(frames: Sequence[Any], name: str, labels: Labels, teachers: bool = False) -> Labels:
    """``labels``, with the names that ``frames`` use instead of those of `Labels` that no frame has.

    Args:
        frames: all of a file, or of a data set that was made by one program.
        name: of the file, for messages.
        teachers: whether labels such as ``energy_dft`` are those of a teacher.

    Raises:
        DatasetError: several names could be meant, and their values differ; the text names them and the settings.

    Example:
        >>> from ase import Atoms
        >>> recognised([Atoms("H", info={"REF_energy": -13.6})], "h.xyz", Labels()).energy_key
        'REF_energy'
    """
    usual = {f"{kind}_key": getattr(Labels, f"{kind}_key") for kind in WORDS}
    names = label_names(frames)
    # Beside a frame's own labels, and where teachers were asked for, energy_dft is what a teacher of that name says.
    taught = teachers or any(key in names for key in usual.values())
    others = [n for n in names if n not in usual.values() and not (taught and n.startswith(TEACHERS))]
    found, rivals = {}, {}
    for what, kinds in GROUPS.items():
        keys = {kind: usual[f"{kind}_key"] for kind in kinds}
        if any(getattr(labels, f"{kind}_key") != key for kind, key in keys.items()):
            continue
        given = {key: values for kind, key in keys.items() if (values := _values(frames, key, kind))}
        more = _candidates(frames, others, kinds)
        if given:
            # A calculator's free energy is no other method's.
            pair = _unlike({**given, **{key: values for key, values in more.items() if key != "free_energy"}}, True)
            if pair:
                logger.info(f"{name}: {pair[0]} and {pair[1]} differ, and {pair[0]} is used")
            if pair and pair[1] not in given:
                rivals[what] = pair
        elif more:
            pair = _unlike(more)
            if pair:
                raise DatasetError(
                    f"{name} has no {' and no '.join(kinds)} of that name, and {' and '.join(pair)} differ: which is "
                    f"the {what}? {_settings([str(_kind_of(key)) for key in pair])}"
                )
            found[what] = next(iter(more))
    if found and rivals:
        what, pair = next(iter(rivals.items()))
        raise DatasetError(
            f"{name}: the {what} is {pair[0]}, from which {pair[1]} differs, and {', '.join(found.values())} stand "
            f"beside them: labels of two methods could be mixed; {_settings([what, *found])}"
        )
    if found:
        said = ", ".join(_said(key) for key in found.values())
        logger.info(f"{name}: no {', '.join(found)} of the usual name; taken are {said}")
    return dataclasses.replace(labels, **{f"{_kind_of(key)}_key": key for key in found.values()})


def _kind_of(name: str) -> str | None:
    """What a label of this name would be; None where the name says nothing."""
    plain = name.casefold().replace("-", "_")
    for source in SOURCES:
        if plain.startswith(source) and plain != source:
            plain = plain[len(source) :].lstrip("_")
            break
        if plain.endswith(f"_{source}"):
            plain = plain[: -len(source) - 1]
            break
    return next((kind for kind, words in WORDS.items() if plain in words), None)


def _candidates(frames: Sequence[Any], names: Sequence[str], kinds: Sequence[str]) -> dict[str, Values]:
    """The labels in ``frames`` that are recognised as one of ``kinds``, in this order."""
    found = {}
    for kind in kinds:
        for key in names:
            if _kind_of(key) == kind and (values := _values(frames, key, kind)):
                found[key] = values
    return found


def _values(frames: Sequence[Any], key: str, kind: str) -> Values:
    """Of the label ``key``, virials for stresses; empty where no frame has one of a shape that ``kind`` has."""
    values = [None if (value := label_of(a, key)) is None else READ[kind](a, value) for a in frames]
    return values if any(value is not None for value in values) else []


def _number(atoms: Any, value: Any) -> Any:
    return value if np.ndim(value) == 0 and isinstance(value, int | float | np.number) else None


def _vectors(atoms: Any, value: Any) -> Any:
    return value if np.shape(value) == (len(atoms), 3) else None


def _strain_derivative(per_volume: bool) -> Callable[[Any, Any], Any]:
    def read(atoms: Any, value: Any) -> Any:
        shape, volume = np.shape(value), abs(float(np.linalg.det(atoms.cell.array)))
        fits = (shape == (6,) or int(np.prod(shape)) == 9) and np.asarray(value).dtype.kind in "fiu"
        if not fits or not atoms.pbc.all() or volume < 1e-8:
            return None
        return (volume if per_volume else -1.0) * matrix(value, "")

    return read


READ: Mapping[str, Callable[[Any, Any], Any]] = {
    "energy": _number,
    "forces": _vectors,
    "stress": _strain_derivative(per_volume=True),
    "virial": _strain_derivative(per_volume=False),
}
"""How a label of each kind is read; None where it is something else of the same name."""


def _unlike(candidates: Mapping[str, Values], lenient: bool = False) -> list[str]:
    """The first name and one whose values differ from its; empty where all agree.

    Args:
        lenient: whether a frame may have the one and not the other.
    """
    (first, values), *others = candidates.items()
    return next(
        ([first, other] for other, theirs in others if not all(map(_agree, values, theirs, [lenient] * len(values)))),
        [],
    )


def _agree(one: Any, other: Any, lenient: bool) -> bool:
    if one is None or other is None:
        return lenient or one is other
    # Files keep a few digits, and those of a stress are multiplied by the volume.
    close = {"rtol": 1e-3, "atol": 1e-2} if np.shape(one) == (3, 3) else {"rtol": 1e-6, "atol": 1e-4}
    return bool(np.allclose(one, other, equal_nan=True, **close))


def _settings(kinds: Sequence[str]) -> str:
    first = list(dict.fromkeys("stress" if kind == "virial" else kind for kind in kinds))[0]
    names = dict.fromkeys(kinds)
    return (
        f"say so by {' or '.join(f'data.{kind}_key' for kind in names)} (`jaxff train --set data.{first}_key=NAME`, "
        f"`jaxff evaluate --{first}-key NAME`)"
    )


def _said(key: str) -> str:
    return f"{key} (minus stress times volume)" if _kind_of(key) == "virial" else key
