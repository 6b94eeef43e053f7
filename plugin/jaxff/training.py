"""Training from files to a file, watched on the terminal."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from jax_models import Potential
from jax_models.errors import DatasetError, ModelFileError
from jax_models.training.datasets import Structure
from jaxff.config import Config
from jaxff.io import Labels, read_structures
from jaxff.plots import save
from jaxff.runtime import configure
from jaxff.training_plot import ridge_curve, training_curve

if TYPE_CHECKING:
    from jax_models.training.trainer import Training


def train_files(
    paths: Sequence[Path], out: Path, config: Config, validation: Sequence[Path] = (), console: Console | None = None
) -> Potential:
    """Train on the structures in ``paths`` and write the potential to ``out``, with its log and plot beside it.

    Raises:
        DatasetError: data that cannot be trained on.
        ConfigError: an unknown model or setting.
        ModelFileError: ``out`` cannot be written.
        TrainingError: training diverged, or the checkpoint beside ``out`` belongs to another training.
    """
    console = console or Console()
    structures, held_out, provenance = read_data(paths, out, config, validation)
    console.print(_describe(structures), highlight=False)
    checkpoint, log = Path(f"{out}.checkpoint"), Path(f"{out}.log.jsonl")
    given = structures, config.model.architecture(), config.model.cutoff_for(structures), config.settings()
    if config.settings().method == "linear":
        result, drawn = _fit_linear(given, held_out, provenance, console, log)
    else:
        result, drawn = _train_by_gradient(given, held_out, provenance, console, log, checkpoint)
    result.potential.save(out)
    checkpoint.unlink(missing_ok=True)
    save(drawn, f"{out}.training.png")
    console.print(error_table(result.potential.provenance["metrics"], out))
    return result.potential


def read_data(
    paths: Sequence[Path], out: Path, config: Config, validation: Sequence[Path]
) -> tuple[list[Structure], list[Structure] | None, dict[str, Any]]:
    """Structures to train on, those to validate on, and the provenance both give to a potential written to ``out``.

    Raises:
        DatasetError: files that cannot be read, or without atoms.
        ModelFileError: the directory of ``out`` is not there.
    """
    if not out.parent.is_dir():
        raise ModelFileError(f"cannot write {out}: there is no directory {out.parent}")
    configure()
    labels = Labels(**config.data.model_dump())
    structures = [s for path in paths for s in read_structures(path, labels)]
    held_out = [s for path in validation for s in read_structures(path, labels)] or None
    if not any(len(s) for s in structures):
        raise DatasetError(f"there are no atoms in {', '.join(map(str, paths))}")
    provenance = {
        "data": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in [*paths, *validation]},
        "versions": {name: version(name) for name in ("jax", "numpy", "equinox", "optax")} | {"python": platform.python_version()},
    }
    return structures, held_out, provenance


def _train_by_gradient(given, held_out, provenance, console: Console, log: Path, checkpoint: Path) -> tuple[Training, Figure]:
    from jax_models.training.trainer import train

    if checkpoint.exists():
        console.print(f"resuming from {checkpoint}")
    with _Watch(console, log) as watch:
        try:
            result = train(*given, validation=held_out, checkpoint=checkpoint, progress=watch, provenance=provenance)
        except KeyboardInterrupt:
            console.print("interrupted: the same command resumes here")
            raise
    return result, training_curve(result.history)


def _fit_linear(given, held_out, provenance, console: Console, log: Path) -> tuple[Training, Figure]:
    from jax_models.model_file import write_atomically
    from jax_models.training.linear import train_linear

    with structure_bar(console, "equations") as progress:
        result = train_linear(*given, validation=held_out, progress=progress, provenance=provenance)
    write_atomically(log, "".join(json.dumps(record) + "\n" for record in result.history).encode())
    console.print(f"ridge strength {result.potential.provenance['ridge']:.1e}", highlight=False)
    return result, ridge_curve(result.history)


@contextmanager
def structure_bar(console: Console, text: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar over structures, and the function that moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Watch:
    """A progress bar and a log, fed with one record an epoch."""

    def __init__(self, console: Console, log: Path):
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"), TimeRemainingColumn())
        self.bar = Progress(*columns, console=console)
        self.path = log
        self.task = None

    def __enter__(self) -> _Watch:
        self.log = self.path.open("w")
        self.bar.start()
        self.task = self.bar.add_task("preparing", total=None)
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()
        self.log.close()

    def __call__(self, record: dict[str, Any], epochs: int) -> None:
        print(json.dumps(record), file=self.log, flush=True)
        errors = record["validation"] or record["train"]
        text = f"validation {1e3 * errors['energy_rmse']:.2f} meV/atom"
        if "force_rmse" in errors:
            text += f"  {errors['force_rmse']:.4f} eV/Å"
        self.bar.update(self.task, total=epochs, completed=record["epoch"], description=text)


def _describe(structures: Sequence[Structure]) -> str:
    atoms = sum(len(s) for s in structures)
    forces, stresses = (sum(getattr(s, name) is not None for s in structures) for name in ("forces", "virial"))
    return f"{len(structures)} structures, {atoms} atoms; {forces} with forces, {stresses} with a stress to train on"


def error_table(metrics: dict[str, dict[str, float]], out: Path) -> Table:
    """Errors on each data set, as `jaxff train` prints them."""
    table = Table(title=str(out))
    for column in ("", "energy MAE\nmeV/atom", "energy RMSE\nmeV/atom", "force MAE\neV/Å", "force RMSE\neV/Å", "virial RMSE\nmeV/atom"):
        table.add_column(column, justify="right")
    keys = (("energy_mae", 1e3, ".2f"), ("energy_rmse", 1e3, ".2f"), ("force_mae", 1, ".4f"), ("force_rmse", 1, ".4f"), ("virial_rmse", 1e3, ".2f"))
    for name, errors in metrics.items():
        table.add_row(name, *(f"{unit * errors[key]:{form}}" if key in errors else "" for key, unit, form in keys))
    return table
