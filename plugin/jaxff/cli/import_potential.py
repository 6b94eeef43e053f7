"""`jaxff import`: a potential that others trained, as a .jaxff file."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Annotated

import typer

RESTRICTED = re.compile(
    r"academic|non-?commercial|-NC\b|\bNC\b|-ND\b|\bASL\b|redistribut|all rights reserved", re.IGNORECASE
)
"""Words of licences that do not let everyone do everything."""


def import_potential(
    file: Annotated[Path, typer.Argument(help="The potential as its authors published it; its kind is recognised.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The potential to write, e.g. oam.jaxff.")],
    head: Annotated[str | None, typer.Option(metavar="NAME", help="Which head, of a file with several.")] = None,
    elements: Annotated[
        str | None, typer.Option(metavar="A,B", help="Keep these elements alone; the file is then smaller.")
    ] = None,
    license_: Annotated[
        str | None, typer.Option("--license", metavar="TEXT", help="Of the potential, where its file does not say it.")
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
    if license_:
        potential = dataclasses.replace(potential, provenance={**potential.provenance, "license": license_})
    potential.save(out)
    contract, provenance = potential.contract, potential.provenance
    layers = "" if contract.layers == 1 else f", {contract.layers} layers"
    n = len(contract.elements)
    named = ", ".join(contract.elements) if n <= 12 else f"{n} elements"
    print(f"{out}: {provenance['imported']}; {named}, cutoff {contract.cutoff:g} Å{layers}")
    licence = provenance.get("license", "")
    print(f"licence: {licence or 'not stated in the file; ask its authors before you pass it on'}")
    if RESTRICTED.search(licence):
        print("this licence restricts use or redistribution: so it does for what you make of the potential")
    if contract.citation:
        print(f"please cite: {contract.citation}")
