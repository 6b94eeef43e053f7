"""Delta models in use: a potential that means something only on top of its teacher."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jax_models import Potential

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


def calculator_of(
    potential: Potential | str | os.PathLike,
    precision: str = "single",
    device: str = "auto",
    teacher_file: str | os.PathLike | None = None,
) -> Calculator:
    """A potential as an ASE calculator; a delta model as the sum with its teacher. `JaxffCalculator` does the same.

    In LAMMPS the same sum is ``pair_style hybrid/overlay`` of the teacher's style and ``jaxff``.

    Args:
        potential: path of a ``.jaxff`` file, or a potential.
        precision: "single" or "double".
        device: "cpu", "gpu" or "auto".
        teacher_file: the YAML file that has the teacher; None: what was written into the potential when it was trained.

    Raises:
        ConfigError: a delta model whose teacher is not known, or lacks a file.
        ModelFileError: the potential cannot be read.

    Example:
        >>> calculator_of("lammps_examples/Si_delta.jaxff")  # doctest: +SKIP
    """
    from jaxff.ase import JaxffCalculator

    return JaxffCalculator(potential, precision, device, teacher=teacher_file)
