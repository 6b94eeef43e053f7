"""`jaxff elastic`: elastic constants of a crystal."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jaxff.cli.options import Device, DeviceOption, JsonFile, PotentialFile, Precision, PrecisionOption


class Method(StrEnum):
    autodiff = "autodiff"
    stress = "stress"


def elastic(
    potential: PotentialFile,
    structure: Annotated[Path, typer.Argument(help="A crystal: .cif, .vasp, .xyz, anything that ASE reads.")],
    json: JsonFile = None,
    precision: PrecisionOption = Precision.double,
    device: DeviceOption = Device.auto,
    method: Annotated[
        Method | None, typer.Option(help="Second derivatives, or finite strains. [default: autodiff where the potential has it]")
    ] = None,
    clamped: Annotated[bool, typer.Option("--clamped", help="Do not let atoms relax inside strained cells.")] = False,
) -> None:
    """Elastic constants, bulk modulus and relaxed lattice of a crystal.

    Cell and atoms are relaxed first. Then the second derivatives of the energy give the constants (autodiff), or six strains
    are applied with both signs, and the differences of the stress do (stress).
    """
    from rich.console import Console
    from rich.table import Table

    from jaxff import JaxffCalculator
    from jaxff.cli.files import read_structure, write_json
    from jaxff.properties.elastic import elastic_constants
    from jaxff.properties.elastic_autodiff import differentiable

    console = Console()
    atoms = read_structure(structure)
    with console.status("relaxing the crystal, then straining it"):
        atoms.calc = JaxffCalculator(potential, precision, device)
        method = method or (Method.autodiff if differentiable(atoms.calc.potential) else Method.stress)
        result = elastic_constants(atoms, clamped=clamped, method=method)
    note = f", {method}" + (", clamped ions" if clamped else "")
    table = Table(title=f"Elastic constants of {atoms.get_chemical_formula()} (GPa{note})")
    names = ("xx", "yy", "zz", "yz", "xz", "xy")
    for name in ("", *names):
        table.add_column(name, justify="right")
    for name, row in zip(names, result.constants, strict=True):
        table.add_row(name, *(f"{value:.2f}" for value in row.round(2) + 0.0))
    console.print(table)
    lengths_and_angles = result.atoms.cell.cellpar()
    lengths, angles = lengths_and_angles[:3].round(5).tolist(), lengths_and_angles[3:].round(3).tolist()
    console.print(f"bulk modulus {result.bulk_modulus:.2f} GPa")
    console.print(f"relaxed lattice {lengths} Å, angles {angles}°", soft_wrap=True, highlight=False)
    if json:
        data = {
            "elastic_constants_gpa": result.constants.tolist(),
            "bulk_modulus_gpa": result.bulk_modulus,
            "relaxed_lattice": result.atoms.cell.array.tolist(),
            "relaxed_lengths_and_angles": lengths_and_angles.tolist(),
        }
        write_json(json, data)
