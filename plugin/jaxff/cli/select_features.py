"""`jaxff select-features`: a linear potential on the few features that predict best."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Method(StrEnum):
    ols = "ols"
    omp = "omp"
    lasso = "lasso"
    stability = "stability"


def select_features(
    structures: Annotated[list[Path], typer.Argument(help="Labelled structures, as for `jaxff train`.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The potential to write, e.g. si.jaxff.")],
    model: Annotated[str | None, typer.Option(help="A descriptor: ace, gmp, scattering, ... [default: ace]")] = None,
    method: Annotated[
        Method,
        typer.Option(help="Greedy orthogonal least squares, matching pursuit, LASSO, or stability over random halves."),
    ] = Method.ols,
    max_features: Annotated[int, typer.Option(min=1, help="At most so many.")] = 200,
    ensemble: Annotated[
        int,
        typer.Option(
            min=0, help="Average so many selections on random parts of the data; their spread is the uncertainty."
        ),
    ] = 0,
    valid: Annotated[
        list[Path] | None, typer.Option("--valid", metavar="FILE", help="Validation data, only measured.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Configuration, YAML; see `jaxff config`.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for `jaxff train`; repeatable.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same numbers. [default: 0]")] = None,
) -> None:
    """Select features of a linear model by cross-validation, and save the model.

    Beside OUT it leaves the path (OUT.selection.json), a plot of the error against the number of features
    (OUT.selection.png) and one of what was chosen (OUT.features.png).
    """
    import os

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from jaxff.cli.outputs import JSON, PLOT, POTENTIAL, Output, beside, check_outputs
    from jaxff.config import load_config
    from jaxff.train.select_files import select_files

    loaded = load_config(config, model, set_ or (), seed=seed)
    written = Output("--out", out, POTENTIAL)
    check_outputs(
        [written, *beside(written, selection_json=JSON, selection_png=PLOT, features_png=PLOT)],
        [*structures, *(valid or ()), config, *loaded.files()],
    )
    select_files(structures, out, loaded, valid or [], method=method, most=max_features, members=ensemble)
