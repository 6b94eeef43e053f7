"""`jaxff label`: what empirical potentials say of structures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jaxff.cli.options import JsonFile


def label(
    structures: Annotated[
        list[Path], typer.Argument(help="Structures, with labels or without: any file that ASE reads.")
    ],
    teachers: Annotated[
        Path, typer.Option("--teachers", metavar="FILE", help="The teachers, YAML; see docs/knowledge.md.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Extended XYZ to write, e.g. labelled.xyz.")],
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. [default: one a CPU core]")] = None,
    timeout: Annotated[
        float, typer.Option(min=1.0, help="Seconds for one structure, after which it counts as failed.")
    ] = 300.0,
    json: JsonFile = None,
    energy_key: Annotated[
        str, typer.Option(help="Name of the labelled energies in the files, if there are any.")
    ] = "energy",
    forces_key: Annotated[str, typer.Option(help="Name of the labelled forces.")] = "forces",
) -> None:
    """Label structures with every teacher: energy_T, forces_T and stress_T of teacher T, or error_T.

    What was in the files stays. An interrupted run goes on where it was when the same command is given again. A teacher
    that fails on a structure, or crashes, is named in the summary and in that frame.
    """
    import os

    from rich.console import Console
    from rich.table import Table

    from jaxff.cli.files import write_json
    from jaxff.cli.outputs import JSON, LOG, XYZ, Output, beside, check_outputs
    from jaxff.io import Labels
    from jaxff.knowledge.label_files import check_out, label_files
    from jaxff.knowledge.teachers import read_teachers

    console = Console()
    check_out(out)
    written = Output("--out", out, XYZ)
    check_outputs([written, *beside(written, journal=LOG), Output("--json", json, JSON)], [*structures, teachers])
    if workers is None:
        workers = len(os.sched_getaffinity(0))
    try:
        summaries = label_files(
            structures, read_teachers(teachers), out, workers, timeout, Labels(energy_key, forces_key), console
        )
    except KeyboardInterrupt:
        console.print("interrupted: the same command resumes here")
        raise
    table = Table(title=str(out))
    for column in ("teacher", "labelled", "failed", "energy RMSE\nmeV/atom", "force RMSE\neV/Å"):
        table.add_column(column, justify="left" if column == "teacher" else "right")
    for s in summaries:
        energy = "" if s.energy_rmse is None else f"{1e3 * s.energy_rmse:.1f}"
        force = "" if s.force_rmse is None else f"{s.force_rmse:.3f}"
        table.add_row(s.teacher, str(s.labelled), str(len(s.failures)), energy, force)
    console.print(table)
    for s in summaries:
        if s.failures:
            frame, reason = s.failures[0]
            more = (
                f" (and {len(s.failures) - 1} more; error_{s.teacher} in the file says why)"
                if len(s.failures) > 1
                else ""
            )
            console.print(f"{s.teacher} failed on {frame}: {reason}{more}", highlight=False, soft_wrap=True)
    if json:
        write_json(json, {s.teacher: s.to_dict() for s in summaries})
