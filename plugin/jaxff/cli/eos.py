"""`jaxff eos`: the equation of state of a crystal."""

from __future__ import annotations

from typing import Annotated

import typer

from jaxff.cli.options import (
    CrystalFile,
    Device,
    DeviceOption,
    JsonFile,
    PlotFile,
    PotentialFile,
    Precision,
    PrecisionOption,
)


def eos(
    potential: PotentialFile,
    structure: CrystalFile,
    json: JsonFile = None,
    plot: PlotFile = None,
    strain: Annotated[float, typer.Option(help="Lattice vectors are scaled by up to 1 ± this.")] = 0.03,
    points: Annotated[int, typer.Option(help="Volumes, at least 5.")] = 11,
    precision: PrecisionOption = Precision.double,
    device: DeviceOption = Device.auto,
) -> None:
    """Energy against volume, and the Birch-Murnaghan equation of state through it."""
    from rich.console import Console

    from jaxff import JaxffCalculator
    from jaxff.cli.files import read_structure, write_json
    from jaxff.cli.outputs import JSON, PLOT, Output, check_outputs
    from jaxff.plots.crystals import state_plot
    from jaxff.plots.figures import plot_format, save
    from jaxff.properties.equation_of_state import equation_of_state

    console = Console()
    if plot:
        plot_format(plot)
    check_outputs([Output("--json", json, JSON), Output("--plot", plot, PLOT)], [potential, structure])
    atoms = read_structure(structure)
    with console.status("relaxing the crystal, then scaling it"):
        atoms.calc = JaxffCalculator(potential, precision, device)
        result = equation_of_state(atoms, strain, points)
    console.print(f"volume {result.volume:.4f} Å³/atom, energy {result.energy:.5f} eV/atom", highlight=False)
    console.print(f"bulk modulus {result.bulk_modulus:.2f} GPa, its derivative {result.derivative:.2f}")
    if plot:
        save(state_plot(result), plot)
    if json:
        data = {
            "volume_per_atom": result.volume,
            "energy_per_atom_ev": result.energy,
            "bulk_modulus_gpa": result.bulk_modulus,
            "bulk_modulus_derivative": result.derivative,
            "rms_residual_ev_per_atom": result.residual,
            "volumes_per_atom": result.volumes.tolist(),
            "energies_per_atom_ev": result.energies.tolist(),
        }
        write_json(json, data)
