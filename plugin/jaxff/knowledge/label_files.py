"""`jaxff label`: from files to a file, with what each teacher says under keys of its own, and a summary."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jax_models.errors import ConfigError, TrainingError
from jax_models.model_file import write_atomically
from jax_models.training.teachers.alignment import aligned_references
from jaxff.io import Labels, check_asked, label_of, read_frames, recognised
from jaxff.io.labels import options_of
from jaxff.knowledge.labelling import Answer, label
from jaxff.knowledge.teachers import Teacher

if TYPE_CHECKING:
    from ase import Atoms

COMPRESSED: dict[str, Callable[[bytes], bytes]] = {".xz": lzma.compress, ".gz": gzip.compress, ".bz2": bz2.compress}


@dataclass(frozen=True)
class Summary:
    """How one teacher did."""

    teacher: str
    labelled: int
    failures: list[tuple[str, str]]
    """Frame and reason."""
    references: dict[str, float] | None
    """eV an atom of each element: what to add to its energies so that they meet the labelled ones."""
    energy_rmse: float | None
    """eV/atom against the labelled frames, after that."""
    force_rmse: float | None
    """eV/Å"""

    def to_dict(self) -> dict[str, Any]:
        return {
            "labelled": self.labelled,
            "failures": [{"frame": frame, "reason": reason} for frame, reason in self.failures],
            "reference_energies_ev": self.references,
            "energy_rmse_mev_per_atom": None if self.energy_rmse is None else 1e3 * self.energy_rmse,
            "force_rmse_ev_per_angstrom": self.force_rmse,
        }


def label_files(
    paths: Sequence[Path],
    teachers: Sequence[Teacher],
    out: Path,
    workers: int = 2,
    timeout: float = 300.0,
    labels: Labels | None = None,
    console: Console | None = None,
) -> list[Summary]:
    """Label the frames of ``paths`` and write them to ``out``; until it is complete, answers are in ``out``.journal.

    Raises:
        DatasetError: a file that cannot be read, or no frame that has a label of the name given.
        ConfigError: ``out`` is no extended XYZ, or a teacher lacks a file.
        TrainingError: no teacher could label anything.
    """
    check_out(out)
    labels = labels or Labels()
    read = {path: read_frames(path) for path in paths}
    frames = [(f"{path}, frame {n}", atoms) for path, found in read.items() for n, atoms in enumerate(found)]
    check_asked([atoms for _, atoms in frames], options_of(labels))
    names = {path: recognised(found, str(path), labels, teachers=True) for path, found in read.items()}
    own = [
        (label_of(atoms, names[path].energy_key), label_of(atoms, names[path].forces_key))
        for path, found in read.items()
        for atoms in found
    ]
    journal = Path(f"{out}.journal")
    console = console or Console()
    if journal.exists():
        console.print(f"resuming from {journal}")
    columns = (TextColumn("labelling"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=len(frames) * len(teachers))
        answers = label(
            [atoms for _, atoms in frames], teachers, journal, workers, timeout, lambda n: bar.update(task, completed=n)
        )
    summaries = [_summary(teacher.name, frames, [a[teacher.name] for a in answers], own) for teacher in teachers]
    if not any(summary.labelled for summary in summaries):
        first = summaries[0]
        raise TrainingError(
            f"no teacher could label any structure; {first.teacher}, {first.failures[0][0]}: {first.failures[0][1]}"
        )
    references = {s.teacher: s.references for s in summaries}
    write_frames(
        out, [with_answers(atoms, given, references) for (_, atoms), given in zip(frames, answers, strict=True)]
    )
    journal.unlink(missing_ok=True)
    return summaries


def with_answers(atoms: Atoms, answers: dict[str, Answer], references: dict[str, dict[str, float] | None]) -> Atoms:
    """A copy of ``atoms`` with ``energy_T``, ``forces_T`` and ``stress_T`` of every teacher T, or ``error_T``.

    Where a teacher could be aligned, ``aligned_energy_T`` is its energy with its reference energies made those of the
    labels.
    """
    labelled = atoms.copy()
    labelled.calc = atoms.calc
    for name, answer in answers.items():
        for key in ("energy", "stress", "error", "aligned_energy"):
            labelled.info.pop(f"{key}_{name}", None)
        labelled.arrays.pop(f"forces_{name}", None)
        if "error" in answer:
            labelled.info[f"error_{name}"] = answer["error"].replace('"', "'")
            continue
        labelled.info[f"energy_{name}"] = answer["energy"]
        labelled.new_array(f"forces_{name}", np.array(answer["forces"]))
        if answer["stress"] is not None:
            labelled.info[f"stress_{name}"] = np.array(answer["stress"])
        shift = references[name]
        symbols = atoms.get_chemical_symbols()
        if shift is not None and set(symbols) <= set(shift):
            labelled.info[f"aligned_energy_{name}"] = answer["energy"] + sum(shift[symbol] for symbol in symbols)
    return labelled


def check_out(out: Path) -> None:
    """Raises:
    ConfigError: ``out`` is not a name of extended XYZ, or its folder is not there.
    """
    stem = out.with_suffix("") if out.suffix in COMPRESSED else out
    if stem.suffix not in (".xyz", ".extxyz"):
        raise ConfigError(
            f"--out is {out}; its name must end in .xyz or .extxyz, or one of these and {', '.join(COMPRESSED)}"
        )
    if not out.parent.is_dir():
        raise ConfigError(f"cannot write {out}: there is no directory {out.parent}")


def write_frames(out: Path, frames: Sequence[Atoms]) -> None:
    """Extended XYZ, compressed as the name says; an old file is replaced only by a complete one."""
    import ase.io

    text = io.StringIO()
    ase.io.write(text, frames, format="extxyz")
    data = text.getvalue().encode()
    compress = COMPRESSED.get(out.suffix)
    write_atomically(out, compress(data) if compress else data)


def _summary(
    name: str, frames: Sequence[tuple[str, Atoms]], answers: Sequence[Answer], own: Sequence[tuple[Any, Any]]
) -> Summary:
    """``own``: energy and forces that each frame brought, None where there are none."""
    failures = [
        (frame, answer["error"]) for (frame, _), answer in zip(frames, answers, strict=True) if "error" in answer
    ]
    both = [
        (atoms, answer, float(energy), forces)
        for (_, atoms), answer, (energy, forces) in zip(frames, answers, own, strict=True)
        if "error" not in answer and energy is not None
    ]
    references = energy_rmse = force_rmse = None
    if both:
        elements = sorted({symbol for atoms, *_ in both for symbol in atoms.get_chemical_symbols()})
        counts = np.array([[atoms.get_chemical_symbols().count(e) for e in elements] for atoms, *_ in both], float)
        difference = np.array([energy - answer["energy"] for _, answer, energy, _ in both])
        shift = aligned_references(counts, difference)
        references = dict(zip(elements, shift.tolist(), strict=True))
        energy_rmse = float(np.sqrt(np.mean(((difference - counts @ shift) / counts.sum(axis=1)) ** 2)))
        pairs = [(forces, answer["forces"]) for _, answer, _, forces in both]
        squares = [((np.array(a) - np.array(b)) ** 2).ravel() for a, b in pairs if a is not None]
        force_rmse = float(np.sqrt(np.concatenate(squares).mean())) if squares else None
    return Summary(name, len(frames) - len(failures), failures, references, energy_rmse, force_rmse)
