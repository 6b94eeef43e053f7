"""Tasks that label structures, each with a journal of its own; what any journal answers is not asked for again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from jax_models.errors import ConfigError
from jaxff.active.folder import identity
from jaxff.knowledge.labelling import answer_key, label, read_journal
from jaxff.knowledge.teachers import Teacher, parse_teacher

TRIES = 3
"""Labellers that may be killed over one structure before it is taken to be the structure's fault."""
KILLED = "died with signal"
LARGEST = 200.0
"""eV/Å: a label with a larger force is taken for a failure."""
ORDER_TOLERANCE = 0.01
"""eV/Å, or of the largest force."""


def label_some(
    frames: Sequence[Atoms], labeller: dict[str, Any], folder: str, journal: Path, timeout: float, threads: int
) -> int:
    """The task: answers of ``labeller`` for ``frames``, into ``journal``; returns how many it has."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    teacher = parse_teacher(labeller, folder)
    return len(label(frames, [teacher], journal, workers=1, timeout=timeout, threads=threads))


def unanswered(frames: Sequence[Atoms], teacher: Teacher, journals: Iterable[Path]) -> list[Atoms]:
    """Those to ask for, each once: not answered by any journal, or only by labellers that were killed, fewer than
    `TRIES` times."""
    answers = _answers(journals)
    digest = teacher.digest()
    asked: dict[str, Atoms] = {}
    for frame in frames:
        key = answer_key(frame, digest)
        found = answers.get(key, [])
        if len(found) < TRIES and all(KILLED in answer.get("error", "") for answer in found):
            asked.setdefault(key, frame)
    return list(asked.values())


def _answers(journals: Iterable[Path]) -> dict[str, list[dict[str, Any]]]:
    """All answers to each question; those without an error come first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in journals:
        for key, answer in read_journal(path).items():
            found.setdefault(key, []).append(answer)
    return {key: sorted(answers, key=lambda answer: "error" in answer) for key, answers in found.items()}


def check_order(labeller: Callable[[list[Atoms]], list[Atoms]], atoms: Atoms) -> None:
    """Label a structure and the same with its atoms in reverse.

    Raises:
        ConfigError: the two answers differ by more than the order of their atoms: the labeller mixes them up.
    """
    order = np.arange(len(atoms))[::-1]
    answers = labeller([atoms, atoms[order]])
    if len(answers) < 2:
        return  # it fails on some structures, which is told elsewhere
    there, back = (answer.get_forces() for answer in answers)
    off = float(np.abs(there[order] - back).max())
    if off > ORDER_TOLERANCE * max(1.0, float(np.abs(there).max())):
        raise ConfigError(
            f"the labeller gives atoms other forces (by {off:.3g} eV/Å) when they come in another order: it mixes up "
            "atoms or elements, or its answers are not converged"
        )


def _diverged(answer: dict[str, Any]) -> str:
    largest = float(np.abs(answer["forces"]).max(initial=0.0))
    return f"a force of {largest:.3g} eV/Å: not converged, or atoms on top of each other" if largest > LARGEST else ""


def labelled(
    frames: Sequence[Atoms], teacher: Teacher, journals: Iterable[Path], round_number: int
) -> tuple[list[Atoms], list[dict[str, str]]]:
    """Frames with their labels, ids and origin; and what failed, with why."""
    answers = _answers(journals)
    digest = teacher.digest()
    done, failed = [], []
    for frame in frames:
        answer = answers.get(answer_key(frame, digest), [{"error": "was never answered"}])[0]
        error = answer.get("error") or _diverged(answer)
        if error:
            failed.append({"id": identity(frame), "error": error})
            continue
        atoms = Atoms(frame.symbols, frame.positions, cell=frame.cell, pbc=frame.pbc)
        atoms.info = {
            "config_type": str(frame.info.get("config_type", "start")),
            "id": identity(frame),
            "round": round_number,
            "labeller": digest[:16],
            **{key: frame.info[key] for key in ("parent", "atom") if key in frame.info},
        }
        stress = None if answer["stress"] is None else np.array(answer["stress"])
        atoms.calc = SinglePointCalculator(
            atoms,
            energy=answer["energy"],
            forces=np.array(answer["forces"]),
            **({} if stress is None else {"stress": stress}),
        )
        done.append(atoms)
    return done, failed
