"""`jaxff barrier`: the energy barrier between two structures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jaxff.cli.options import Device, DeviceOption, JsonFile, PlotFile, PotentialFile, Precision, PrecisionOption


def barrier(
    potential: PotentialFile,
    initial: Annotated[Path, typer.Argument(help="One minimum, in any format that ASE reads.")],
    final: Annotated[Path, typer.Argument(help="The other: the same atoms in the same order and cell.")],
    images: Annotated[int, typer.Option(min=1, help="Moving images between the two ends.")] = 7,
    json: JsonFile = None,
    plot: PlotFile = None,
    precision: PrecisionOption = Precision.double,
    device: DeviceOption = Device.auto,
    fmax: Annotated[float, typer.Option(help="eV/Å; the ends and the band relax to this.")] = 0.01,
) -> None:
    """The minimum-energy path between two structures, by climbing-image NEB.

    Both ends are relaxed first, in their fixed cell; atoms may have been wrapped across periodic boundaries.
    """
    from rich.console import Console
    from rich.table import Table

    from jaxff import JaxffCalculator
    from jaxff.cli.files import read_structure, write_json
    from jaxff.cli.outputs import JSON, PLOT, Output, check_outputs
    from jaxff.plots.figures import path_plot, plot_format, save
    from jaxff.properties.barrier import find_barrier

    console = Console()
    if plot:
        plot_format(plot)
    check_outputs([Output("--json", json, JSON), Output("--plot", plot, PLOT)], [potential, initial, final])
    ends = read_structure(initial), read_structure(final)
    with console.status("relaxing both ends, then the path between them"):
        result = find_barrier(*ends, JaxffCalculator(potential, precision, device), images, fmax)
    table = Table(title="Minimum-energy path")
    for name in ("image", "distance (Å)", "energy (eV)"):
        table.add_column(name, justify="right")
    for n, (distance, energy) in enumerate(zip(result.distances, result.energies, strict=True)):
        table.add_row(str(n), f"{distance:.3f}", f"{energy:.4f}")
    console.print(table)
    console.print(f"barrier {result.forward:.4f} eV, reverse {result.reverse:.4f} eV")
    if plot:
        save(path_plot({"": result}), plot)
    if json:
        data = {
            "barrier_ev": result.forward,
            "reverse_barrier_ev": result.reverse,
            "path_energies_ev": result.energies.tolist(),
        }
        write_json(json, data)
