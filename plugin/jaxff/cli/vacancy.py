"""`jaxff vacancy`: formation energy and migration barrier of a vacancy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jaxff.cli.options import Device, DeviceOption, JsonFile, PlotFile, PotentialFile, Precision, PrecisionOption


def vacancy(
    potential: PotentialFile,
    structure: Annotated[
        Path, typer.Argument(help="A crystal of one element: .cif, .vasp, .xyz, anything that ASE reads.")
    ],
    json: JsonFile = None,
    plot: PlotFile = None,
    repeat: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            metavar="A B C", help="Cells along each vector. [default: at least 10 Å between a vacancy and its images]"
        ),
    ] = None,
    site: Annotated[int, typer.Option(min=0, help="The atom that leaves, counted from 0.")] = 0,
    images: Annotated[int, typer.Option(min=1, help="Moving images of the path.")] = 5,
    fmax: Annotated[float, typer.Option(help="eV/Å; atoms and path relax to this.")] = 0.01,
    precision: PrecisionOption = Precision.double,
    device: DeviceOption = Device.auto,
) -> None:
    """Formation energy of a vacancy, and the barrier for a nearest neighbour to move into it.

    The crystal is relaxed and repeated; the cell then stays fixed. The barrier is the climbing-image band's, and the
    curvatures at its saddle are checked: the energy must fall in one direction only.
    """
    from rich.console import Console

    from jaxff import JaxffCalculator
    from jaxff.cli.files import read_structure, write_json
    from jaxff.cli.outputs import JSON, PLOT, Output, check_outputs
    from jaxff.plots.figures import path_plot, plot_format, save
    from jaxff.properties.vacancy import vacancy as compute

    console = Console()
    if plot:
        plot_format(plot)
    check_outputs([Output("--json", json, JSON), Output("--plot", plot, PLOT)], [potential, structure])
    crystal = read_structure(structure)
    with console.status("relaxing the crystal, the vacancy, and the path of a neighbour into it"):
        calculator = JaxffCalculator(potential, precision, device)
        result = compute(crystal, calculator, site=site, repeat=repeat, images=images, fmax=fmax)
    modes = result.saddle.negative_modes
    console.print(f"vacancy in {len(result.atoms) + 1} sites, {result.repeat} cells", highlight=False)
    console.print(f"formation energy {result.formation_energy:.4f} eV")
    console.print(f"migration barrier {result.migration_barrier:.4f} eV")
    verdict = "a saddle" if modes == 1 else f"[yellow]no saddle of first order: {modes} directions of fall[/yellow]"
    lowest = ", ".join(f"{c:.3f}" for c in result.saddle.curvatures)
    console.print(f"curvatures at the top: {lowest} eV/Å² ({verdict})", highlight=False)
    if result.hop.energies.min() < -0.01:
        console.print(
            "[yellow]the path runs through a lower minimum than its ends: the vacancy prefers another shape[/yellow]"
        )
    if plot:
        save(path_plot({"": result.hop}), plot)
    if json:
        data = {
            "formation_energy_ev": result.formation_energy,
            "migration_barrier_ev": result.migration_barrier,
            "activation_energy_ev": result.formation_energy + result.migration_barrier,
            "path_energies_ev": result.hop.energies.tolist(),
            "saddle_curvatures_ev_per_angstrom2": result.saddle.curvatures.tolist(),
            "saddle_negative_modes": modes,
            "repeat": list(result.repeat),
        }
        write_json(json, data)
