"""`jaxff doctor`: does everything fit together on this machine, and what to do where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from jaxff.lammps.preflight import Check

MARKS = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "fail": "[red]FAIL[/red]"}


def doctor(
    report: Annotated[
        bool, typer.Option("--report", help="Plain text with versions and the machine, to paste into an issue.")
    ] = False,
) -> None:
    """Check LAMMPS, the plugin, MPI, libpython and JAX, and run four atoms; status 1 when something essential fails."""
    from rich.console import Console

    from jaxff.lammps.preflight import checks
    from jaxff.machine_report import machine_report

    results = [check() for check in checks()]
    if report:
        print(machine_report(results))
    else:
        Console().print(_table(results))
    if any(result.state == "fail" for result in results):
        raise typer.Exit(1)


def _table(results: Sequence[Check]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="jaxff doctor")
    for heading in ("", "check", "found"):
        table.add_column(heading, overflow="fold")
    for result in results:
        advice = f"\n[bold]-> {escape(result.advice)}[/bold]" if result.advice else ""
        table.add_row(MARKS[result.state], result.name, escape(result.found) + advice)
    return table
