"""`jaxff structures`: structures without labels, for teachers to label."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def structures(
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="Extended XYZ to write, e.g. unlabelled.xyz.")
    ],
    crystals: Annotated[
        list[Path] | None, typer.Argument(help="Crystals to start from, any file that ASE reads.")
    ] = None,
    elements: Annotated[
        str | None, typer.Option(metavar="A,B", help="Start from these elements' crystals instead, e.g. Si or Li,Al.")
    ] = None,
    families: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Of strain, rattle, vacancy, surface, prototype, melt, disordered. [default: all but the last; melt "
            "with --teachers]",
        ),
    ] = None,
    number: Annotated[int, typer.Option(min=1, help="Structures of each family.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same structures.")] = 0,
    strain: Annotated[float, typer.Option(help="Standard deviation of the strains.")] = 0.05,
    rattle: Annotated[float, typer.Option(help="Å; largest standard deviation of the displacements.")] = 0.25,
    atoms: Annotated[int, typer.Option(help="Atoms that a cell has at least.")] = 32,
    temperatures: Annotated[str, typer.Option(metavar="T,T", help="K, of melt.")] = "300,1000,2500",
    teachers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The teachers, YAML: one of them runs melt.")
    ] = None,
    melt_by: Annotated[str | None, typer.Option(metavar="NAME", help="Which of them. [default: the first]")] = None,
) -> None:
    """Make strained, rattled, defective, cut and molten structures; config_type is the family."""
    from collections import Counter

    from rich.console import Console

    from jax_models.errors import ConfigError
    from jaxff.cli.outputs import XYZ, Output, check_outputs
    from jaxff.io import read_frames
    from jaxff.knowledge.label_files import check_out, write_frames
    from jaxff.knowledge.structure_families import ALL_FAMILIES, Recipe, crystal_of, make_structures
    from jaxff.knowledge.teachers import read_teachers

    check_out(out)
    check_outputs([Output("--out", out, XYZ)], [*(crystals or ()), teachers])
    if bool(crystals) == bool(elements):
        raise ConfigError("give either structure files to start from, or --elements")
    try:
        degrees = tuple(float(t) for t in temperatures.split(","))
    except ValueError:
        raise ConfigError(f"--temperatures is {temperatures!r}; it must be numbers in K, such as 300,1000") from None
    starts = [atoms for path in crystals or () for atoms in read_frames(path)] or [
        crystal_of(e.strip()) for e in (elements or "").split(",")
    ]
    calculator = None
    if teachers is not None:
        known = {teacher.name: teacher for teacher in read_teachers(teachers)}
        name = melt_by or next(iter(known))
        if name not in known:
            raise ConfigError(f"--melt-by is {name}; {teachers} has {', '.join(known)}")
        calculator = known[name].calculator()
    usual = [f for f in ALL_FAMILIES if f != "disordered" and (f != "melt" or calculator is not None)]
    wanted = families.split(",") if families else usual
    with Console().status("making structures"):
        found = list(make_structures(starts, wanted, number, seed, Recipe(strain, rattle, atoms, degrees), calculator))
    write_frames(out, found)
    counts = Counter(atoms.info["config_type"] for atoms in found)
    print(f"{len(found)} structures written to {out}: " + ", ".join(f"{n} {family}" for family, n in counts.items()))
