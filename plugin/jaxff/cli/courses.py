"""What `jaxff md` and `jaxff relax` write beside a trajectory: a log and a plot."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from jax_models.errors import ConfigError
from jaxff.cli.outputs import LOG, PLOT, TRAJECTORY, Kind, Output, beside, check_outputs

if TYPE_CHECKING:
    from ase import Atoms

    from jaxff.dynamics import Course

STRUCTURE = Kind("a structure that ASE reads", lambda path: _is_structure(path))


def check_course(trajectory: Path, inputs: Iterable[Path], result: Path | None = None) -> None:
    """Refuse before the run what could not be written after it.

    Raises:
        ConfigError: the trajectory does not end in .traj, a result is of a format that ASE cannot write, and what
            `check_outputs` raises.
        ModelFileError: a place that cannot be written to.
    """
    if trajectory.suffix != ".traj":
        raise ConfigError(f"--out {trajectory} must end in .traj; `ase convert` makes other formats of it")
    if result is not None:
        _format_of(result)
    out = Output("--out", trajectory, TRAJECTORY)
    check_outputs([out, *beside(out, log_jsonl=LOG, png=PLOT), Output("--out", result, STRUCTURE)], inputs)


def write_course(trajectory: Path, course: Course) -> None:
    """The log, one record a line, and the plot."""
    from jax_models.model_file import write_atomically
    from jaxff.plots.course import course_plot
    from jaxff.plots.figures import save

    lines = "".join(json.dumps(record) + "\n" for record in course.records)
    write_atomically(f"{trajectory}.log.jsonl", lines.encode())
    save(course_plot(course.records), f"{trajectory}.png")


def write_structure(path: Path, atoms: Atoms) -> None:
    """In the format of the name's ending, complete or not at all."""
    from ase.io import write

    from jax_models.model_file import write_atomically

    kind = _format_of(path)
    if kind.isbinary:
        data = io.BytesIO()
        write(data, atoms, format=kind.name)
        write_atomically(path, data.getvalue())
        return
    text = io.StringIO()
    write(text, atoms, format=kind.name)
    write_atomically(path, text.getvalue().encode())


def _format_of(path: Path):
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    try:
        kind = ioformats[filetype(str(path), read=False)]
    except (UnknownFileTypeError, KeyError):
        kind = None
    if kind is None or not kind.can_write:
        raise ConfigError(f"--out {path}: ASE writes no structures of that ending; give .cif, .vasp, .xyz or another")
    return kind


def _is_structure(path: Path) -> bool:
    from jax_models.errors import JaxffError
    from jaxff.io import read_frames

    try:
        return bool(read_frames(path))
    except JaxffError:
        return False
