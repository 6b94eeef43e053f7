"""`jaxff phonons`: band structure and density of states of a crystal."""

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


def phonons(
    potential: PotentialFile,
    structure: CrystalFile,
    json: JsonFile = None,
    plot: PlotFile = None,
    repeat: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            metavar="A B C", help="Primitive cells along each vector. [default: a supercell at least 10 Å wide]"
        ),
    ] = None,
    displacement: Annotated[float, typer.Option(help="Å, of the finite displacements.")] = 0.01,
    precision: PrecisionOption = Precision.double,
    device: DeviceOption = Device.auto,
) -> None:
    """Phonon frequencies from finite displacements (phonopy), along the special lines of the crystal's lattice."""
    from rich.console import Console

    from jaxff import JaxffCalculator
    from jaxff.cli.files import read_structure, write_json
    from jaxff.cli.outputs import JSON, PLOT, Output, check_outputs
    from jaxff.plots.crystals import phonon_plot
    from jaxff.plots.figures import plot_format, save
    from jaxff.properties.phonons import phonons as compute

    console = Console()
    if plot:
        plot_format(plot)
    check_outputs([Output("--json", json, JSON), Output("--plot", plot, PLOT)], [potential, structure])
    atoms = read_structure(structure)
    with console.status("relaxing the crystal, then displacing its atoms"):
        atoms.calc = JaxffCalculator(potential, precision, device)
        result = compute(atoms, repeat=repeat, displacement=displacement)
    console.print(f"{len(result.gamma)} bands, supercell {result.repeat} of the primitive cell", highlight=False)
    console.print(
        f"highest frequency {result.highest:.3f} THz; at Γ {', '.join(f'{f:.3f}' for f in result.gamma + 0.0)}",
        highlight=False,
    )
    if result.lowest < -0.1:
        console.print(
            f"[yellow]imaginary frequencies, down to {-result.lowest:.3f}i THz: the crystal is not stable[/yellow]"
        )
    if plot:
        save(phonon_plot(result), plot)
    if json:
        data = {
            "frequencies_at_gamma_thz": result.gamma.tolist(),
            "lowest_frequency_thz": result.lowest,
            "highest_frequency_thz": result.highest,
            "bands": [
                {"from": start, "to": end, "distances": d.tolist(), "frequencies_thz": f.tolist()}
                for (start, end), d, f in zip(result.labels, result.distances, result.bands, strict=True)
            ],
            "dos_frequencies_thz": result.frequencies.tolist(),
            "dos_states_per_thz": result.density.tolist(),
            "repeat": list(result.repeat),
        }
        write_json(json, data)
