"""`jaxff distill`: a fast potential for one material, learned from a universal one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def distill(
    teacher: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE", help="A .jaxff file, or a YAML file that describes a teacher; several: their mean."
        ),
    ],
    structures: Annotated[list[Path], typer.Option(metavar="FILE", help="Crystals to start from: .cif, .vasp, ...")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The potential to write, e.g. fast.jaxff.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="[STRUCTURES]...", help="More crystals.")] = None,
    explore: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Of strained, crystal, surface, vacancy, liquid. [default: all of them]"),
    ] = None,
    hottest: Annotated[
        float | None, typer.Option(min=1, help="K. [default: 1.8 times the melting point by Lindemann's rule]")
    ] = None,
    error: Annotated[float, typer.Option(min=0.001, max=1, help="Of forces, as a part of their RMS.")] = 0.1,
    atoms: Annotated[int, typer.Option(min=8, help="Of each cell, at least.")] = 48,
    rounds: Annotated[int, typer.Option(min=1, help="Of exploring, labelling and training, at most.")] = 6,
    per_round: Annotated[int, typer.Option(min=1, help="Labels in a round, at most.")] = 48,
    visits: Annotated[
        float, typer.Option(min=1e4, help="Neighbours seen in each training; five times in the last.")
    ] = (1e7),
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of the random numbers.")] = 0,
) -> None:
    """Make a fast potential of a slow one: explore, label by the teacher, train; then compare the two.

    The fast potential is an `ace` for the elements of the structures. All else, run.yaml of `jaxff active` and the
    comparison among it, is in the folder OUT.distill. Interrupted or killed, the same command goes on.
    """
    import os

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from rich.console import Console

    from jaxff.cli.outputs import POTENTIAL, Output, check_outputs
    from jaxff.distill.distillation import Request, distill, write_comparison
    from jaxff.distill.report import liquid_difference, tables, verdict

    files = [*structures, *(more or [])]
    check_outputs([Output("--out", out, POTENTIAL)], [*teacher, *files])
    options = {
        "explore": [name.strip() for name in explore.split(",")] if explore else (),
        "hottest": hottest,
        "error": error,
        "atoms": atoms,
        "rounds": rounds,
        "per_round": per_round,
        "visits": visits,
        "workers": workers,
        "seed": seed,
    }
    request = Request(teacher, files, out, options)
    console = Console()
    comparison = distill(request, console)
    write_comparison(comparison, request.folder)
    for table in tables(comparison):
        console.print(table)
    difference = liquid_difference(comparison)
    if difference is not None:
        console.print(f"liquid at {comparison['liquid_k']:.0f} K: g(r) differ by {difference:.3f} on average")
    console.print(f"{out}: {comparison['labels']} labels; {verdict(comparison)}", highlight=False)
    console.print(f"comparison: {request.folder}/comparison.json, .png", highlight=False)
