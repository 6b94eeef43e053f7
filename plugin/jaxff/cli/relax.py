"""`jaxff relax`: the nearest minimum of one structure, without a script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jaxff.cli.md import StructureFile
from jaxff.cli.options import Device, DeviceOption, PotentialFile, Precision, PrecisionOption


def relax(
    potential: PotentialFile,
    structure: StructureFile,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The relaxed structure (.cif, .vasp, .xyz, ...).")
    ],
    cell: Annotated[bool, typer.Option("--cell", help="Relax the cell too.")] = False,
    fmax: Annotated[float, typer.Option(help="eV/Å; no force is larger in the end.")] = 0.01,
    steps: Annotated[int, typer.Option(min=1, help="At most so many, calls before included.")] = 1000,
    precision: PrecisionOption = Precision.double,
    device: DeviceOption = Device.auto,
) -> None:
    """Relax atoms, and with --cell the cell: trajectory (.traj), log (.log.jsonl) and plot (.png) beside the result.

    Interrupted or killed, the same command goes on.
    """
    from rich.console import Console

    from jax_models.errors import ConvergenceError
    from jaxff import JaxffCalculator
    from jaxff.cli.courses import check_course, write_course, write_structure
    from jaxff.cli.files import read_structure
    from jaxff.dynamics import relax_structure

    trajectory = Path(f"{out}.traj")
    check_course(trajectory, [potential, structure], result=out)
    atoms = read_structure(structure)
    console = Console()
    calculator = JaxffCalculator(potential, precision, device)
    with console.status("relaxing") as status:
        tell = lambda record: status.update(  # noqa: E731
            f"step {record['step']}: {record['energy_ev']:.4f} eV, force {record['largest_force_ev_a']:.3g} eV/Å"
        )
        relaxed, course, converged = relax_structure(atoms, calculator, trajectory, fmax, cell, steps, tell)
    write_course(trajectory, course)
    last = course.records[-1]
    if not converged:
        raise ConvergenceError(
            f"the largest force is {last['largest_force_ev_a']:.3g} eV/Å after {last['step']} steps, not {fmax:g}; the "
            "same command with more --steps goes on"
        )
    write_structure(out, relaxed)
    console.print(
        f"{out}: {last['energy_ev']:.5f} eV, largest force {last['largest_force_ev_a']:.2g} eV/Å, {last['step']} steps",
        highlight=False,
    )
