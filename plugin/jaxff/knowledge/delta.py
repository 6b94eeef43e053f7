"""Delta models in use: a potential that means something only on top of its teacher."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jax_models import Potential
from jax_models.errors import ConfigError
from jaxff.knowledge.teachers import Teacher, parse_teacher, read_teachers

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


def described(potential: Potential, teacher_file: str | os.PathLike | None) -> dict[str, Any]:
    """The provenance of a delta model, with its teacher's settings if ``teacher_file`` has them.

    Raises:
        ConfigError: the file lacks the teacher.
    """
    provenance = potential.provenance
    if "delta" not in provenance or teacher_file is None:
        return provenance
    teacher = _named(provenance["delta"]["teacher"], teacher_file)
    return {**provenance, "delta": {**provenance["delta"], "settings": teacher.model_dump()}}


def calculator_of(
    potential: Potential | str | os.PathLike,
    precision: str = "single",
    device: str = "auto",
    teacher_file: str | os.PathLike | None = None,
) -> Calculator:
    """A potential as an ASE calculator; a delta model as the sum with its teacher.

    In LAMMPS the same sum is ``pair_style hybrid/overlay`` of the teacher's style and ``jaxff``.

    Args:
        teacher_file: the YAML file that has the teacher; None: what was written into the potential when it was trained.

    Raises:
        ConfigError: a delta model whose teacher is not known, or lacks a file.
        ModelFileError: the potential cannot be read.

    Example:
        >>> calculator_of("lammps_examples/Si_delta.jaxff")  # doctest: +SKIP
    """
    from ase.calculators.mixing import SumCalculator

    from jaxff.ase import JaxffCalculator

    correction = JaxffCalculator(potential, precision, device)
    delta = correction.potential.provenance.get("delta")
    if delta is None:
        return correction
    if teacher_file is not None:
        teacher = _named(delta["teacher"], teacher_file)
    elif "settings" in delta:
        folder = Path(potential).parent if isinstance(potential, str | os.PathLike) else Path()
        teacher = parse_teacher(delta["settings"], folder, f"the teacher of {potential}")
    else:
        raise ConfigError(
            f"this is a delta model, to be added to its teacher {delta['teacher']}, whose settings it does not "
            "hold: name the teachers' file"
        )
    corrected: Any = SumCalculator([teacher.calculator(), correction])
    return corrected


def _named(name: str, path: str | os.PathLike) -> Teacher:
    teachers = {teacher.name: teacher for teacher in read_teachers(path)}
    if name not in teachers:
        raise ConfigError(
            f"{path} has no teacher {name}, which this delta model corrects; it has {', '.join(teachers)}"
        )
    return teachers[name]
