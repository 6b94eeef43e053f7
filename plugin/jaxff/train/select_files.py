"""Feature selection from files to a file: the potential, the path as JSON, and two plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from jax_models import Potential
from jaxff.config import Config
from jaxff.plots.figures import save
from jaxff.plots.selected_features import selected_feature_counts, selection_path
from jaxff.train.preparation import Preparation
from jaxff.train.train_files import error_table, read_data, structure_bar, warn


def select_files(
    paths: Sequence[Path],
    out: Path,
    config: Config,
    validation: Sequence[Path] = (),
    *,
    method: str = "ols",
    most: int = 200,
    members: int = 0,
    console: Console | None = None,
) -> Potential:
    """Select features on the structures in ``paths`` and write the potential to ``out``.

    Beside it: ``OUT.selection.json``, ``OUT.selection.png`` (error against the number of features),
    ``OUT.features.png`` (what was chosen).

    Raises:
        DatasetError: data that cannot be trained on.
        ConfigError: an unknown model, method or setting; a model that is not linear.
        ModelFileError: a file cannot be written.
    """
    from jax_models.model_file import write_atomically
    from jax_models.training.linear.selected_model import select_features

    console = console or Console()
    data, provenance = read_data(paths, config, validation)
    console.print(str(data), highlight=False)
    warn(console, Preparation.of(data, config).warnings())
    given = data.structures, *data.model(config)
    with structure_bar(console, "equations") as progress:
        result = select_features(
            *given,
            method=method,
            most=most,
            members=members,
            validation=data.validation,
            progress=progress,
            provenance=provenance,
        )
    report = result.report
    result.potential.save(out)
    write_atomically(f"{out}.selection.json", (json.dumps(_known(report), indent=1, allow_nan=False) + "\n").encode())
    save(selection_path(report), f"{out}.selection.png")
    save(selected_feature_counts(report["selected"]), f"{out}.features.png")
    console.print(_path_table(report))
    error = f"{report['nested']['error']:.4g} eV/atom (nested cross-validation)"
    console.print(f"error of the whole procedure on structures it never saw: {error}", highlight=False)
    console.print(error_table(result.potential.provenance["metrics"], out))
    return result.potential


def _path_table(report: dict[str, Any]) -> Table:
    table = Table(title=f"Features by {report['method']}: {report['size']} selected")
    for column in ("features", "left out\neV/atom", "± over folds\neV/atom", "fitted\neV/atom", "ridge"):
        table.add_column(column, justify="right")
    path = report["path"]
    shown = [r for n, r in enumerate(path) if n % max(len(path) // 12, 1) == 0 or r["features"] == report["size"]]
    for record in shown:
        style = "bold" if record["features"] == report["size"] else None
        values = record["error"], record["spread"], record["training_error"]
        table.add_row(str(record["features"]), *(f"{v:.4g}" for v in values), f"{record['ridge']:.0e}", style=style)
    return table


def _known(value: Any) -> Any:
    """``value`` with null for numbers that are not finite, of which JSON knows none: it means "not computed"."""
    if isinstance(value, dict):
        return {key: _known(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_known(part) for part in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
