"""`jaxff data`: what labelled structures hold, before training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxff.cli.options import EnergyKey, ForcesKey, JsonFile, PlotFile, StressKey, VirialKey

if TYPE_CHECKING:
    from rich.table import Table

    from jaxff.data_overview import DataOverview


def data(
    structures: Annotated[
        list[Path], typer.Argument(help="Structures with labels: any files that `jaxff train` reads.")
    ],
    json: JsonFile = None,
    plot: PlotFile = None,
    energy_key: EnergyKey = "energy",
    forces_key: ForcesKey = "forces",
    stress_key: StressKey = "stress",
    virial_key: VirialKey = "virial",
) -> None:
    """What the files hold: elements, sizes, names and ranges of the labels, copies, and what looks wrong.

    Forces and stresses are compared with the energies of similar frames, so that other units and signs are noticed.
    --plot draws histograms.
    """
    from rich.console import Console
    from rich.markup import escape

    from jaxff.cli.files import write_json
    from jaxff.cli.outputs import JSON, PLOT, Output, check_outputs
    from jaxff.data_overview import data_overview
    from jaxff.io import Labels
    from jaxff.plots.figures import plot_format, save
    from jaxff.plots.label_histograms import label_histograms

    console = Console()
    if plot:
        plot_format(plot)
    check_outputs([Output("--json", json, JSON), Output("--plot", plot, PLOT)], structures)
    given = Labels(energy_key=energy_key, forces_key=forces_key, stress_key=stress_key, virial_key=virial_key)
    with console.status("reading"):
        overview = data_overview(structures, given)
        found = overview.to_dict()
    for table in _tables(found):
        console.print(table)
    for mark, text in _findings(overview, found):
        console.print(f"{mark} {escape(text)}".lstrip(), highlight=False, soft_wrap=True)
    if plot:
        save(label_histograms(overview.structures), plot)
    if json:
        write_json(json, found)


def _tables(found: dict[str, Any]) -> list[Table]:
    from rich.table import Table

    files = Table(title="files")
    for column in ("", "structures", "atoms in one", "elements", "periodic", "labels, in structures"):
        files.add_column(column, overflow="fold", justify="right" if column == "structures" else "left")
    names = [Path(file["file"]).name for file in found["files"]]
    for name, file in zip(names, found["files"], strict=True):
        labels = ", ".join(f"{label['name']} {label['frames']}" for label in file["labels"].values())
        files.add_row(
            name if names.count(name) == 1 else file["file"],
            str(file["structures"]),
            _between(file["sizes"], ".0f"),
            ", ".join(file["elements"]),
            ", ".join(f"{kind} {n}" for kind, n in file["periodic"].items()),
            labels or "none",
        )
    kinds = Table(title="labels by config_type")
    headings = ("", "structures", "energy\neV/atom", "force, largest\neV/Å", "force, RMS\neV/Å", "pressure\nGPa",
                "volume\nÅ³/atom")  # fmt: skip
    for column in headings:
        kinds.add_column(column, justify="left" if not column else "right")
    for name, part in {**found["config_type"], "all": found}.items():
        force, rms = part["force_ev_per_angstrom"], part["force_rms_ev_per_angstrom"]
        kinds.add_row(
            name,
            str(part["structures"]),
            _between(part["energy_ev_per_atom"], ".3f"),
            "" if force is None else f"{force['max']:.2f}",
            "" if rms is None else f"{rms:.3f}",
            _between(part["pressure_gpa"], ".2f"),
            _between(part["volume_per_atom"], ".2f"),
        )
    return [files, kinds]


def _between(values: dict[str, float] | None, form: str) -> str:
    if values is None:
        return ""
    low, high = format(values["min"], form), format(values["max"], form)
    return low if low == high else f"{low} to {high}"


def _findings(overview: DataOverview, found: dict[str, Any]) -> list[tuple[str, str]]:
    """A mark and a line for each thing to know, the worst last."""
    lines = []
    distances = found["shortest_distances"]
    if distances:
        said = ", ".join(f"{pair} {d['angstrom']:.2f}" for pair, d in distances.items())
        lines.append(("", f"shortest distances (Å): {said}"))
    others = sorted({name for file in found["files"] for name in file["other_labels"]})
    if others:
        lines.append(("", f"not read: {', '.join(others)}"))
    if overview.copies:
        twice = sum(len(names) - 1 for names in overview.copies)
        first = " and ".join(overview.copies[0][:2])
        lines.append(("[yellow]note:[/yellow]", f"{twice} of {found['structures']} are copies of others ({first})"))
    lines += [("[bold yellow]suspicion:[/bold yellow]", str(s)) for s in overview.suspicions]
    lines += [("[bold red]refused in training:[/bold red]", str(p)) for p in overview.problems]
    if not overview.suspicions and not overview.problems:
        lines.append(("[green]ok:[/green]", "nothing looks wrong"))
    return lines
