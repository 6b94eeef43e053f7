"""`jaxff join`: several potentials as one committee."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def join(
    potentials: Annotated[list[Path], typer.Argument(help="Two or more .jaxff files of one architecture.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The committee to write.")],
    data: Annotated[
        list[Path] | None, typer.Option("--data", metavar="FILE", help="What they were trained on: gives the grade.")
    ] = None,
    valid: Annotated[
        list[Path] | None, typer.Option("--valid", metavar="FILE", help="Other structures, which calibrate the errors.")
    ] = None,
) -> None:
    """Join potentials that differ in their parameters alone: the mean is what runs, the spread tells how sure it is.

    Without --data, grade and calibration are those of the first file.
    """
    from rich.console import Console

    from jax_models import ConfigError, Potential
    from jax_models.training.uncertainty import joined, with_uncertainty
    from jaxff.cli.outputs import POTENTIAL, Output, check_outputs
    from jaxff.io import read_structures

    check_outputs([Output("--out", out, POTENTIAL)], [*potentials, *(data or ()), *(valid or ())])
    if valid and not data:
        raise ConfigError("--valid calibrates what --data is graded by; give --data too")
    committee = joined([Potential.load(path) for path in potentials])
    if data:
        structures, others = ([s for path in part for s in read_structures(path)] for part in (data, valid or ()))
        committee = with_uncertainty(committee, structures, others)
    elif committee.uncertainty is None:
        raise ConfigError(f"{potentials[0]} knows nothing of its errors: give --data, the structures it was trained on")
    committee.save(out)
    Console().print(f"{out}: {len(potentials)} members", highlight=False)
