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
    points: Annotated[
        str | None,
        typer.Option(
            metavar="bonds|grid|FILE",
            help="Look from the middles of bonds (--set bond_cutoff=3), a grid (--set spacing=1), or the points in a "
            "file (.npy, .txt, .csv, or a structure for each structure). [default: atoms]",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A setting, e.g. r_cut=5, n_max=8, elements=[H,O]; repeatable."
        ),
    ] = None,
) -> None:
    """Compute the features of every atom, or of other points.

    OUT holds `features` (atoms x features, float64), `structure` (which structure each row belongs to, counted from 0
    over all files), `symbols` (each row's element; mbtr_global and scattering have one row a structure, and none),
    `elements` (their order in the features), `names` (what each feature is, as JSON, of descriptors that say it) and
    with --points `points` (Å) instead of `symbols`. With r_cut the settings have DScribe's meaning and defaults; with
    cutoff instead, those of a potential.
    """
    import io

    import numpy as np

    from jax_models.descriptors import DESCRIPTORS
    from jax_models.elements import ATOMIC_NUMBERS
    from jax_models.errors import ConfigError
    from jax_models.model_file import write_atomically
    from jaxff.cli.outputs import FEATURES, Output, check_outputs
    from jaxff.config import apply_override
    from jaxff.features import GLOBAL, feature_names
    from jaxff.features import describe as describe_structures
    from jaxff.io import read_frames
    from jaxff.runtime import configure
    from jaxff.spelling import guess, spelled

    if out.suffix != ".npz":
        raise ConfigError(f"--out is {out}; its name must end in .npz")
    check_outputs([Output("--out", out, FEATURES)], structures)
    settings: dict[str, Any] = {}
    for override in set_ or ():
        apply_override(settings, override)
    if "descriptor" in settings or "name" in settings:
        raise ConfigError("choose the descriptor by --descriptor, not by --set")
    known = {**DESCRIPTORS, **dict.fromkeys(GLOBAL)}
    name = spelled(descriptor, known)
    if name is None:
        choice = ", ".join(sorted(known))
        raise ConfigError(f"unknown descriptor {descriptor!r}; choose from {choice}{guess(descriptor, known)}")
    descriptor = name
    configure()
    frames = [atoms for path in structures for atoms in read_frames(path)]
    symbols = [symbol for atoms in frames for symbol in atoms.get_chemical_symbols()]
    settings.setdefault("elements", sorted(set(symbols), key=lambda s: ATOMIC_NUMBERS.get(s, 0)))
    at = None if points is None else _points(points, frames, settings)
    features = describe_structures(frames, descriptor, points=at, **settings)
    rows = {"structure": np.arange(len(frames))}
    if at is not None:
        of_points = np.repeat(rows["structure"], [len(part) for part in at])
        rows = {"structure": of_points, "points": np.concatenate(at)}
    elif descriptor not in GLOBAL:
        of_atoms = np.repeat(rows["structure"], [len(atoms) for atoms in frames])
        rows = {"structure": of_atoms, "symbols": np.array(symbols)}
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        features=features,
        **rows,  # type: ignore[arg-type]  # NumPy's stub takes any keyword for allow_pickle
        elements=np.array(settings["elements"]),
        **feature_names(descriptor, **settings),  # type: ignore[arg-type]
    )
    write_atomically(out, buffer.getvalue())
    what = "points" if at is not None else "structures" if descriptor in GLOBAL else "atoms"
    print(f"{len(features)} {what} x {features.shape[1]} features of {len(frames)} structures written to {out}")


def _points(given: str, frames: list[Any], settings: dict[str, Any]) -> list[Any]:
    """For each structure its points; what ``settings`` says of them is taken out."""
    from jax_models.errors import ConfigError
    from jaxff.feature_points import NAMED, named_points, points_in

    own = {"bonds": ("bond_cutoff",), "grid": ("spacing",)}.get(given, ())
    chosen = {key: settings.pop(key) for key in own if key in settings}
    if given not in NAMED:
        path = Path(given)
        if not path.is_file():
            raise ConfigError(f"--points is {given}; it must be bonds, grid, or a file with points")
        return points_in(path, len(frames))
    reach = float(settings.get("r_cut", settings.get("cutoff", 5.0)))
    return [named_points(atoms, given, reach, **chosen) for atoms in frames]
