"""`jaxff import-mace`: a network trained with mace-torch as a .jaxff file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_mace(
    state: Annotated[Path, typer.Argument(help="The state dictionary of a ScaleShiftMACE, saved with safetensors.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The potential to write, e.g. mace.jaxff.")],
    avg_num_neighbors: Annotated[
        float | None, typer.Option(help="Of the training data, where the file's metadata do not say it.")
    ] = None,
) -> None:
    """Convert a network trained with mace-torch, exactly; it then runs in ASE and LAMMPS without PyTorch."""
    from jax_models.message_passing.import_mace import potential_from_mace
    from jaxff.cli.outputs import POTENTIAL, Output, check_outputs

    check_outputs([Output("--out", out, POTENTIAL)], [state])
    potential = potential_from_mace(state, avg_num_neighbors)
    potential.save(out)
    contract = potential.contract
    print(f"{out}: {', '.join(contract.elements)}, cutoff {contract.cutoff:g} Å, {contract.layers} layers")
