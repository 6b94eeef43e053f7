"""`jaxff doctor`: does everything fit together on this machine, and what to do where it does not."""

from __future__ import annotations

import typer

MARKS = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "fail": "[red]FAIL[/red]"}


def doctor() -> None:
    """Check LAMMPS, the plugin, MPI, libpython and JAX, and run four atoms; status 1 when something essential fails."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from jaxff.lammps.preflight import checks

    console = Console()
    table = Table(title="jaxff doctor")
    for heading in ("", "check", "found"):
        table.add_column(heading, overflow="fold")
    results = []
    for check in checks():
        result = check()
        results.append(result)
        advice = f"\n[bold]-> {escape(result.advice)}[/bold]" if result.advice else ""
        table.add_row(MARKS[result.state], result.name, escape(result.found) + advice)
    console.print(table)
    if any(result.state == "fail" for result in results):
        raise typer.Exit(1)
