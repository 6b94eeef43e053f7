"""`jaxff ipi`: a potential behind i-PI's socket."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jaxff.cli.options import Device, DeviceOption, PotentialFile, Precision, PrecisionOption


def ipi(
    potential: PotentialFile,
    structure: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Elements in the server's order, and which directions are periodic."),
    ],
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Of the server: <ffsocket mode='inet'>.")] = None,
    host: Annotated[str, typer.Option(help="The machine that the server runs on, with --port.")] = "localhost",
    unix: Annotated[
        str | None, typer.Option(metavar="NAME", help="<address> of a server on this machine: <ffsocket mode='unix'>.")
    ] = None,
    precision: PrecisionOption = Precision.single,
    device: DeviceOption = Device.auto,
) -> None:
    """Energies, forces and virials for i-PI (path integrals and more) or any server of its protocol, such as ASE's.

    Start the server first. The command ends when the server does.
    """
    from rich.console import Console

    from jax_models.errors import ConfigError
    from jaxff import JaxffCalculator
    from jaxff.cli.files import read_structure
    from jaxff.ipi import connected, run_client

    if (port is None) == (unix is None):
        raise ConfigError("give either --port N (and --host) or --unix NAME, as the server's <ffsocket> has it")
    atoms = read_structure(structure)
    calculator = JaxffCalculator(potential, precision, device)
    console = Console()
    client = connected(port, host, unix)
    with console.status("connected") as status:
        number = run_client(client, atoms, calculator, lambda n: status.update(f"{n} evaluations"))
    console.print(f"{number} evaluations; the server has ended", highlight=False)
