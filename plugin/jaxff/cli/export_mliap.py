"""`jaxff export-mliap`: the pickle that LAMMPS's pair_style mliap unified reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export_mliap(
    potential: Annotated[Path, typer.Argument(help="a .jaxff file; it must stay where it is")],
    output: Annotated[Path, typer.Argument(help="the pickle to write, e.g. si.mliap.pkl")],
    precision: Annotated[str, typer.Option(help="single or double")] = "single",
    device: Annotated[str, typer.Option(help="cpu, gpu or auto; a LAMMPS on a GPU uses that one anyway")] = "auto",
) -> None:
    """Write a pickle for LAMMPS's `pair_style mliap unified`: a reference to the potential, not a copy of it."""
    from jaxff.cli.outputs import PICKLE, Output, check_outputs
    from jaxff.lammps.mliap import export_mliap

    check_outputs([Output("OUTPUT", output, PICKLE)], [potential])
    export_mliap(potential, output, precision, device)
    print(f"{output}: in LAMMPS, `pair_style mliap unified {output} 0`")
