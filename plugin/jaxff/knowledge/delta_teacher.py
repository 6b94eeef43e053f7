"""The teacher of a delta model: found in what the potential says of it, or in a teachers' file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jax_models import Potential
from jax_models.errors import ConfigError
from jaxff.knowledge.teachers import Teacher, parse_teacher, read_teachers

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


def provenance_with_teacher(potential: Potential, teacher_file: str | os.PathLike | None) -> dict[str, Any]:
    """The provenance of a delta model, with its teacher's settings if ``teacher_file`` has them.

    Raises:
        ConfigError: the file lacks the teacher.
    """
    provenance = potential.provenance
    if "delta" not in provenance or teacher_file is None:
        return provenance
    teacher = _named(provenance["delta"]["teacher"], teacher_file)
    return {**provenance, "delta": {**provenance["delta"], "settings": teacher.model_dump()}}


def teacher_calculator(
    declared: Mapping[str, Any], potential: Potential | str | os.PathLike, teacher_file: str | os.PathLike | bool | None
) -> Calculator:
    """The teacher that a delta model must be added to, as an ASE calculator.

    Args:
        declared: the ``teacher`` of the delta model's contract.
        potential: the delta model; files that its teacher names are looked for beside it.
        teacher_file: the YAML file that has the teacher; None: what the contract holds.

    Raises:
        ConfigError: the teacher is not known, or lacks a file.
    """
    if isinstance(teacher_file, str | os.PathLike):
        return _named(declared["teacher"], teacher_file).calculator()
    if "settings" not in declared:
        raise ConfigError(
            f"this is a delta model, to be added to its teacher {declared['teacher']}, whose settings it does not "
            "hold: name the teachers' file (JaxffCalculator(..., teacher=FILE), jaxff evaluate --teachers FILE)"
        )
    folder = Path() if isinstance(potential, Potential) else Path(potential).parent
    return parse_teacher(declared["settings"], folder, f"the teacher of {potential}").calculator()


def _named(name: str, path: str | os.PathLike) -> Teacher:
    teachers = {teacher.name: teacher for teacher in read_teachers(path)}
    if name not in teachers:
        raise ConfigError(
            f"{path} has no teacher {name}, which this delta model corrects; it has {', '.join(teachers)}"
        )
    return teachers[name]
