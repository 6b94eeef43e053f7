"""`jaxff evaluate`: errors of a potential against labelled structures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jaxff.cli.options import (
    Device,
    DeviceOption,
    EnergyKey,
    ForcesKey,
    JsonFile,
    PlotFile,
    PotentialFile,
    Precision,
    PrecisionOption,
    StressKey,
    VirialKey,
)

COLUMNS = {
    "n_structures": ("number", "{:d}"),
    "energy_mae_mev_per_atom": ("energy MAE\nmeV/atom", "{:.2f}"),
    "energy_rmse_mev_per_atom": ("energy RMSE\nmeV/atom", "{:.2f}"),
    "force_mae_ev_per_angstrom": ("force MAE\neV/Å", "{:.4f}"),
    "force_rmse_ev_per_angstrom": ("force RMSE\neV/Å", "{:.4f}"),
    "stress_mae_gpa": ("stress MAE\nGPa", "{:.3f}"),
    "coverage": ("force errors\nas expected", "{:.0%}"),
}


def evaluate(
    potential: PotentialFile,
    structures: Annotated[Path, typer.Argument(help="Labelled structures, e.g. extended XYZ (.xyz, .xyz.xz).")],
    json: JsonFile = None,
    plot: PlotFile = None,
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
    """Errors in energy, forces and stress, over all structures and for each config_type.

    Force errors are per Cartesian component. What a structure has no label for is left out. Of a potential that knows
    its errors, also the part of atoms whose force error is below the expected one (coverage; 90 % were asked for).
    """
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from jaxff.cli.files import write_json
    from jaxff.cli.outputs import JSON, PLOT, Output, check_outputs
    from jaxff.evaluation import evaluate as run
    from jaxff.evaluation import read_labelled
    from jaxff.knowledge.delta import calculator_of
    from jaxff.plots.figures import parity, plot_format, save

    console = Console()
    if plot:
        plot_format(plot)
    check_outputs([Output("--json", json, JSON), Output("--plot", plot, PLOT)], [potential, structures, teachers])
    labelled = read_labelled(structures, energy_key, forces_key, stress_key, virial_key)
    calculator = calculator_of(potential, precision, device, teachers)
    result = run(track(labelled, "evaluating", console=console, transient=True), calculator)
    data = result.to_dict()
    shown = {key: column for key, column in COLUMNS.items() if key in data}
    table = Table(title=f"{potential.name} on {structures.name}")
    table.add_column("")
    for title, _ in shown.values():
        table.add_column(title, justify="right")
    rows = {**data.get("config_type", {}), "all": data}
    for name, errors in rows.items():
        table.add_row(name, *(form.format(errors[key]) if key in errors else "" for key, (_, form) in shown.items()))
    console.print(table)
    if plot:
        save(parity(result), plot)
    if json:
        write_json(json, data)
