"""`jaxff describe`: features of structures, for use outside of potentials."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def describe(
    structures: Annotated[
        list[Path], typer.Argument(metavar="STRUCTURES...", help="Files of any format that ASE reads.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The .npz file to write.")],
    descriptor: Annotated[
        str, typer.Option(help="ace, acsf, chebyshev, gmp, mbtr, mbtr_global, power_spectrum, scattering, soap, ...")
    ] = "soap",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A setting, e.g. r_cut=5, n_max=8, elements=[H,O]; repeatable."
        ),
    ] = None,
) -> None:
    """Compute the features of every atom.

    OUT holds `features` (atoms x features, float64), `structure` (which structure each row belongs to, counted from 0
    over all files), `symbols` (each row's element; mbtr_global and scattering have one row a structure, and none) and
    `elements` (their order in the features). With r_cut the settings have DScribe's meaning and defaults; with cutoff
    instead, those of a potential.
    """
    import io

    import numpy as np

    from jax_models.elements import ATOMIC_NUMBERS
    from jax_models.errors import ConfigError
    from jax_models.model_file import write_atomically
    from jaxff.config import apply_override
    from jaxff.features import GLOBAL
    from jaxff.features import describe as describe_structures
    from jaxff.io import read_frames
    from jaxff.runtime import configure

    if out.suffix != ".npz":
        raise ConfigError(f"--out is {out}; its name must end in .npz")
    settings: dict[str, Any] = {}
    for override in set_ or ():
        apply_override(settings, override)
    if "descriptor" in settings or "name" in settings:
        raise ConfigError("choose the descriptor by --descriptor, not by --set")
    configure()
    frames = [atoms for path in structures for atoms in read_frames(path)]
    symbols = [symbol for atoms in frames for symbol in atoms.get_chemical_symbols()]
    settings.setdefault("elements", sorted(set(symbols), key=lambda s: ATOMIC_NUMBERS.get(s, 0)))
    features = describe_structures(frames, descriptor, **settings)
    rows = {"structure": np.arange(len(frames))}
    if descriptor not in GLOBAL:
        of_atoms = np.repeat(rows["structure"], [len(atoms) for atoms in frames])
        rows = {"structure": of_atoms, "symbols": np.array(symbols)}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        features=features,
        **rows,  # type: ignore[arg-type]  # NumPy's stub takes any keyword for allow_pickle
        elements=np.array(settings["elements"]),
    )
    write_atomically(out, buffer.getvalue())
    print(
        f"{len(features)} {'structures' if descriptor in GLOBAL else 'atoms'} x {features.shape[1]} features "
        f"of {len(frames)} structures written to {out}"
    )
