"""`jaxff import`: a potential that others trained, as a .jaxff file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_potential(
    file: Annotated[Path, typer.Argument(help="The potential as its authors published it; its kind is recognised.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The potential to write, e.g. oam.jaxff.")],
    head: Annotated[str | None, typer.Option(metavar="NAME", help="Which head, of a file with several.")] = None,
    elements: Annotated[
        str | None, typer.Option(metavar="A,B", help="Keep these elements alone; the file is then smaller.")
    ] = None,
    avg_num_neighbors: Annotated[
        float | None, typer.Option(help="MACE: of the training data, where the file's metadata do not say it.")
    ] = None,
) -> None:
    """Convert a published potential, exactly; it then runs in ASE and LAMMPS without its authors' code."""
    from jax_models.imports import potential_from_file
    from jaxff.cli.outputs import POTENTIAL, Output, check_outputs

    check_outputs([Output("--out", out, POTENTIAL)], [file])
    potential = potential_from_file(file, head=head, avg_num_neighbors=avg_num_neighbors)
    if elements:
        potential = potential.only([symbol.strip() for symbol in elements.split(",")])
    potential.save(out)
    contract, provenance = potential.contract, potential.provenance
    layers = "" if contract.layers == 1 else f", {contract.layers} layers"
    n = len(contract.elements)
    named = ", ".join(contract.elements) if n <= 12 else f"{n} elements"
    print(f"{out}: {provenance['imported']}; {named}, cutoff {contract.cutoff:g} Å{layers}")
    if provenance.get("license"):
        print(f"licence: {provenance['license']}")
    if contract.citation:
        print(f"please cite: {contract.citation}")
