"""Arguments and options that several subcommands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Precision(StrEnum):
    single = "single"
    double = "double"


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    gpu = "gpu"


PotentialFile = Annotated[Path, typer.Argument(metavar="POTENTIAL", help="A .jaxff file.")]
CrystalFile = Annotated[
    Path, typer.Argument(metavar="STRUCTURE", help="A crystal: .cif, .vasp, .xyz, anything that ASE reads.")
]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the results as JSON.")]
PlotFile = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Write a plot (.png, .pdf, .svg).")]
PrecisionOption = Annotated[Precision, typer.Option(help="Arithmetic of the potential.")]
DeviceOption = Annotated[Device, typer.Option(help="Where it runs.")]
EnergyKey = Annotated[
    str, typer.Option(help="Name of the energies in the file; common other names are found where it is absent.")
]
ForcesKey = Annotated[str, typer.Option(help="Name of the forces.")]
StressKey = Annotated[str, typer.Option(help="Name of the stresses, of ASE's sign.")]
VirialKey = Annotated[str, typer.Option(help="Name of the virials, minus stress times volume.")]
