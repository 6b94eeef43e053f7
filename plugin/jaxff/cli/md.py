"""`jaxff md`: molecular dynamics of one structure, without a script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jaxff.cli.options import Device, DeviceOption, PotentialFile, Precision, PrecisionOption

StructureFile = Annotated[
    Path, typer.Argument(metavar="STRUCTURE", help="What to start from: .cif, .vasp, .xyz, anything that ASE reads.")
]


def md(
    potential: PotentialFile,
    structure: StructureFile,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The trajectory (.traj); one that is there goes on.")
    ] = Path("md.traj"),
    temperature: Annotated[
        str, typer.Option(metavar="K[:K]", help="Kelvin: constant, or a ramp from the first to the second.")
    ] = "300",
    pressure: Annotated[
        str | None, typer.Option(metavar="GPA[:GPA]", help="GPa: the volume then changes. [default: fixed cell]")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of the whole run, calls before included.")] = 10_000,
    timestep: Annotated[float, typer.Option(help="fs.")] = 1.0,
    interval: Annotated[int, typer.Option(min=1, help="Steps between two frames.")] = 50,
    repeat: Annotated[
        tuple[int, int, int], typer.Option(metavar="A B C", help="Repeat the structure along its cell vectors.")
    ] = (1, 1, 1),
    nve: Annotated[bool, typer.Option("--nve", help="Constant energy, from velocities of the temperature.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the random numbers.")] = 0,
    precision: PrecisionOption = Precision.single,
    device: DeviceOption = Device.auto,
) -> None:
    """Molecular dynamics of one structure: trajectory, log (.log.jsonl) and plot (.png) beside it.

    Constant temperature (Langevin), with --pressure constant pressure too, with --nve constant energy. Interrupted or
    killed, the same command goes on; so it does with more --steps.
    """
    from rich.console import Console
    from rich.progress import Progress

    from jaxff import JaxffCalculator
    from jaxff.cli.courses import check_course, write_course
    from jaxff.cli.files import read_structure
    from jaxff.dynamics import Run, run_dynamics

    run = Run(
        steps, timestep, _ramp("--temperature", temperature), _ramp("--pressure", pressure) if pressure else None,
        "nve" if nve else "langevin", interval, seed,
    )  # fmt: skip
    check_course(out, [potential, structure])
    atoms = read_structure(structure) * repeat
    console = Console()
    calculator = JaxffCalculator(potential, precision, device)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task(f"{len(atoms)} atoms", total=steps)
        course = run_dynamics(
            atoms, calculator, run, out, lambda record: progress.update(bar, completed=record["step"])
        )
    write_course(out, course)
    last, half = course.records[-1], course.records[len(course.records) // 2 :]
    mean = sum(record["temperature_k"] for record in half) / len(half)
    console.print(
        f"{out}: {len(course.records)} frames of {len(atoms)} atoms, {last['time_ps']:g} ps; {mean:.0f} K in its "
        "second half",
        highlight=False,
    )


def _ramp(option: str, text: str) -> tuple[float, float]:
    from jax_models.errors import ConfigError

    try:
        values = [float(part) for part in text.split(":")]
    except ValueError:
        values = []
    if len(values) not in (1, 2) or not all(abs(value) < float("inf") for value in values):
        raise ConfigError(f"{option} is {text!r}; it must be a number, or two as 300:1500")
    return values[0], values[-1]
