"""`jaxff report`: one page about a potential."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jaxff.cli.options import (
    Device,
    DeviceOption,
    EnergyKey,
    ForcesKey,
    PotentialFile,
    Precision,
    PrecisionOption,
    StressKey,
    VirialKey,
)


def report(
    potential: PotentialFile,
    data: Annotated[
        Path, typer.Option(metavar="FILE", help="Labelled structures to test on, e.g. extended XYZ (.xyz, .xyz.xz).")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page, an .html file.")],
    rounds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="rounds.jsonl of an active loop, to show its course.")
    ] = None,
    properties: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="What jaxff elastic, eos, ... wrote with --json; may be repeated."),
    ] = None,
    precision: PrecisionOption = Precision.single,
    device: DeviceOption = Device.auto,
    teachers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of a delta model: the file that has its teacher.")
    ] = None,
    energy_key: EnergyKey = "energy",
    forces_key: ForcesKey = "forces",
    stress_key: StressKey = "stress",
    virial_key: VirialKey = "virial",
) -> None:
    """One page about a potential and its errors, which opens in any browser, without a network.

    It has predictions beside references, errors of groups and elements, whether the potential knows its errors, a map
    of the structures, and the training's log if it lies beside the potential (POTENTIAL.log.jsonl).
    """
    from rich.console import Console
    from rich.progress import track

    from jax_models.model_file import write_atomically
    from jaxff.ase import JaxffCalculator
    from jaxff.cli.outputs import HTML, Output, check_outputs
    from jaxff.evaluation import read_labelled
    from jaxff.report.inputs import read_properties, read_rounds
    from jaxff.report.measure import check_elements, measure
    from jaxff.report.page import page

    console = Console()
    given = properties or []
    log = Path(f"{potential}.log.jsonl")
    check_outputs([Output("--out", out, HTML)], [potential, data, teachers, rounds, log, *given])
    # What is wrong with a file is said before anything is computed.
    course = [] if rounds is None else read_rounds(rounds)
    for path in given:
        read_properties(path)
    structures = read_labelled(data, energy_key, forces_key, stress_key, virial_key)
    calculator = JaxffCalculator(potential, precision, device, teacher=teachers)
    check_elements(calculator.potential, potential.name, structures, data.name)
    measured = measure(track(structures, "evaluating", console=console, transient=True), calculator)
    with console.status("drawing"):
        text = page(measured, calculator.potential, potential, data, course, given)
    write_atomically(out, text.encode())
    console.print(f"{out}: open it in a browser", soft_wrap=True, highlight=False)
