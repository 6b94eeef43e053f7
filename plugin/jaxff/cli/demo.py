"""`jaxff demo`: train, then use, a silicon potential, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for everything that it writes.")] = Path(
        "jaxff-demo"
    ),
    seed: Annotated[int, typer.Option(help="Another number gives another training set.")] = 0,
) -> None:
    """The main job in one command: make data, train, and run the result in ASE and LAMMPS.

    Small silicon structures are made on the spot and labelled by LAMMPS with the Stillinger-Weber potential, which
    stands in for DFT. Nothing is downloaded. It takes two or three minutes.
    """
    from rich.console import Console

    from jaxff.cli.outputs import check_folder
    from jaxff.demo.report import report
    from jaxff.demo.run import run_demo

    check_folder(out, "jaxff-demo")
    console = Console()
    console.print(f"Everything goes to {out}/")
    report(run_demo(out, console, seed), console)
    console.print(f"Plots and numbers: {out}/summary.md")
