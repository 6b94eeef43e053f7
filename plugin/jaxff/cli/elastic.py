"""`jaxff elastic`: elastic constants of a crystal."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from jaxff.cli.options import CrystalFile, Device, DeviceOption, JsonFile, PotentialFile, Precision, PrecisionOption


class Method(StrEnum):
    autodiff = "autodiff"
    stress = "stress"


def elastic(
    potential: PotentialFile,
    structure: CrystalFile,
    json: JsonFile = None,
    precision: PrecisionOption = Precision.double,
    device: DeviceOption = Device.auto,
    method: Annotated[
        Method | None,
        typer.Option(help="Second derivatives, or finite strains. [default: autodiff where the potential has it]"),
    ] = None,
    clamped: Annotated[bool, typer.Option("--clamped", help="Do not let atoms relax inside strained cells.")] = False,
) -> None:
    """Elastic constants, bulk modulus and relaxed lattice of a crystal.

    Cell and atoms are relaxed first. Then the second derivatives of the energy give the constants (autodiff), or six
    strains are applied with both signs, and the differences of the stress do (stress).
    """
    from rich.console import Console
    from rich.table import Table

    from jaxff import JaxffCalculator
    from jaxff.cli.files import read_structure, write_json
    from jaxff.cli.outputs import JSON, Output, check_outputs
    from jaxff.properties.elastic import elastic_constants
    from jaxff.properties.elastic_autodiff import differentiable

    console = Console()
    check_outputs([Output("--json", json, JSON)], [potential, structure])
    atoms = read_structure(structure)
    with console.status("relaxing the crystal, then straining it"):
        calculator = atoms.calc = JaxffCalculator(potential, precision, device)
        method = method or (Method.autodiff if differentiable(atoms.calc.potential) else Method.stress)
        result = elastic_constants(atoms, clamped=clamped, method=method)
        spread = _spread(calculator, result, method, clamped)
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
    if spread is not None:
        diagonal = ", ".join(f"{value:.2f}" for value in spread.diagonal())
        console.print(f"spread over the ensemble's members, diagonal: {diagonal} GPa", highlight=False)
    console.print(f"bulk modulus {result.bulk_modulus:.2f} GPa")
    console.print(f"relaxed lattice {lengths} Å, angles {angles}°", soft_wrap=True, highlight=False)
    if json:
        data = {
            "elastic_constants_gpa": result.constants.tolist(),
            "bulk_modulus_gpa": result.bulk_modulus,
            "relaxed_lattice": result.atoms.cell.array.tolist(),
            "relaxed_lengths_and_angles": lengths_and_angles.tolist(),
        }
        if spread is not None:
            data["elastic_constants_std_gpa"] = spread.tolist()
        write_json(json, data)


def _spread(calculator, result, method: Method, clamped: bool):
    """Standard deviation of the constants over an ensemble's members, each with its own relaxed crystal; None without
    any.

    A member for which the crystal is no minimum is left out.
    """
    import numpy as np

    from jax_models.errors import ConvergenceError, StructureError
    from jax_models.training.linear.ensemble import members_of
    from jaxff import JaxffCalculator
    from jaxff.properties.elastic import elastic_constants

    found = []
    for member in members_of(calculator.potential):
        atoms = result.atoms.copy()
        atoms.calc = JaxffCalculator(member, "double")
        try:
            found.append(elastic_constants(atoms, clamped=clamped, method=method).constants)
        except (ConvergenceError, StructureError):
            continue
    return np.std(found, axis=0) if found else None
