"""Training from files to a file, watched on the terminal."""

from __future__ import annotations

import dataclasses
import glob
import json
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from jax_models import Potential
from jax_models.errors import ConfigError, ModelFileError
from jaxff.config import Config
from jaxff.io.frames import digest
from jaxff.knowledge.delta_teacher import provenance_with_teacher
from jaxff.knowledge.teachers import read_teachers
from jaxff.plots.figures import save
from jaxff.plots.training_course import ridge_curve, training_curve
from jaxff.runtime import configure
from jaxff.train.errors_known import knowing_errors
from jaxff.train.preparation import Preparation, check_architecture
from jaxff.train.replay import with_replay
from jaxff.train.training_data import TrainingData, read_training_data

if TYPE_CHECKING:
    from jax_models.training.gradient.trainer import Training

STAGE = re.compile(r"(\.member-\d+)?(\.(pretraining|training|weight-[-+.\w]+))?")
"""How the name of a checkpoint ends: after the stage that it is of."""


def train_files(
    paths: Sequence[Path],
    out: Path,
    config: Config,
    validation: Sequence[Path] = (),
    console: Console | None = None,
    start: Path | None = None,
    dry_run: bool = False,
    members: int = 1,
    replay: Sequence[Path] = (),
) -> Potential | None:
    """Train on the structures in ``paths`` and write the potential to ``out``, with its log and plot beside it.

    Args:
        start: a .jaxff file to start from; it settles the model, so that ``config`` must say nothing of that.
        dry_run: read, check and say what would be trained, and write nothing; the result is then None.
        members: how many potentials, from other seeds, are trained and joined to a committee.
        replay: structures that ``start`` labels, and that are trained on as well.

    Raises:
        DatasetError: data that cannot be trained on.
        ConfigError: an unknown model or setting, or data that do not fit into the memory with this cutoff.
        ModelFileError: ``out`` cannot be written.
        TrainingError: training diverged, or the checkpoint beside ``out`` belongs to another training.
    """
    console = console or Console()
    begin = _start(start, config)
    if config.knowledge.teacher_file is not None:
        read_teachers(config.knowledge.teacher_file)  # better refused now than after the training
    if replay and begin is None:
        raise ConfigError("--replay needs --from: the structures are labelled by the potential that is started from")
    data, provenance = read_data(paths, config, validation, begin)
    if replay and begin is not None:
        with console.status("labelling what is replayed"):
            data = with_replay(data, begin, replay)
        provenance["replay"] = {path.name: digest(path) for path in replay}
    if begin is not None:
        begin = begin.covering({symbol for s in data.structures for symbol in s.symbols})
    console.print(str(data), highlight=False)
    preparation = Preparation.of(data, config, begin)
    if members > 1 and config.settings().method == "linear":
        raise ConfigError(
            "a linear model has one solution, so its members would be equal; its covariance is used instead"
        )
    warn(console, preparation.warnings())
    if dry_run:
        preparation.report(console)
        return None
    checkpoint, log = Path(f"{out}.checkpoint"), Path(f"{out}.log.jsonl")
    if start is not None:
        provenance["start"] = {start.name: digest(start)}
    if config.settings().method == "linear":
        result, drawn = _fit_linear(data, config, provenance, console, log)
    else:
        result, drawn = _train_members(preparation, begin, provenance, console, log, checkpoint, members)
    potential = dataclasses.replace(
        result.potential, provenance=provenance_with_teacher(result.potential, config.knowledge.teacher_file)
    )
    with console.status("learning how large its errors are"):
        potential = knowing_errors(potential, preparation, result.heads)
    potential.save(out)
    for path in checkpoints(out):
        path.unlink()
    save(drawn, f"{out}.training.png")
    table = error_table(potential.provenance["metrics"], out)
    if not preparation.held_out and config.settings().method != "linear":
        table.caption = "nothing was held out: these are no errors of prediction"
    console.print(table)
    if "uncertainty" in potential.provenance:
        facts = potential.provenance["uncertainty"]
        console.print(
            f"expected force errors hold for {100 * facts['coverage']:.0f} % of {facts['atoms']} atoms "
            f"({facts['calibrated_on']}); {facts['members']} members tell the spread",
            highlight=False,
        )
    return potential


def read_data(
    paths: Sequence[Path], config: Config, validation: Sequence[Path], start: Potential | None = None
) -> tuple[TrainingData, dict[str, Any]]:
    """What to train on, and the provenance that it gives to a potential.

    Raises:
        DatasetError: files that cannot be read, or without atoms.
        ConfigError: a model that cannot be built; it is tried before the files are read.
    """
    configure()
    if start is None:
        check_architecture(config)
    data = read_training_data(paths, validation, config)
    provenance: dict[str, Any] = {
        "data": {path.name: digest(path) for path in data.files},
        "versions": {name: version(name) for name in ("jax", "numpy", "equinox", "optax")}
        | {"python": platform.python_version()},
    }
    if config.data.weights:
        provenance["weights"] = config.data.weights
    return data, provenance


def _start(path: Path | None, config: Config) -> Potential | None:
    """The potential to start from."""
    if path is None:
        return None
    said = sorted(config.model.model_fields_set)
    if said:
        raise ConfigError(
            f"the model is that of {path}: leave out --model and, in the section model, {', '.join(said)}"
        )
    if config.settings().method == "linear":
        raise ConfigError(
            "training.method is linear: least squares does not start from a potential; leave out --from, or "
            "use gradient"
        )
    potential = Potential.load(path)
    if "members" in potential.architecture:
        raise ConfigError(f"{path} is a committee: start from one of the potentials that it was joined from")
    return potential


def checkpoints(out: Path) -> list[Path]:
    """The state of each stage of an unfinished training that will write ``out``."""
    first = Path(f"{out}.checkpoint")
    return [path for path in _beginning_with(first) if STAGE.fullmatch(path.name[len(first.name) :])]


def _beginning_with(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{glob.escape(path.name)}*"))


def warn(console: Console, warnings: Iterable[str]) -> None:
    for text in warnings:
        console.print(f"[bold yellow]warning:[/bold yellow] {escape(text)}", highlight=False, soft_wrap=True)


def _train_members(
    preparation: Preparation, start, provenance, console: Console, log: Path, checkpoint: Path, members: int
) -> tuple[Training, Figure]:
    """One training, or several from other seeds with the same structures held out."""
    if members == 1:
        return _train_by_gradient(preparation, start, provenance, console, log, checkpoint)
    from jax_models.training.uncertainty.joining import joined

    trained = []
    for number in range(members):
        console.print(f"member {number + 1} of {members}", highlight=False)
        files = Path(f"{log}.{number}"), Path(f"{checkpoint}.member-{number}")
        done = _train_by_gradient(_with_seed(preparation, start, number), start, provenance, console, *files)
        trained.append(done)
    log.write_bytes(b"".join(Path(f"{log}.{number}").read_bytes() for number in range(members)))
    for number in range(members):
        Path(f"{log}.{number}").unlink()
    first, drawn = trained[0]
    return dataclasses.replace(first, potential=joined([result.potential for result, _ in trained])), drawn


def _with_seed(preparation: Preparation, start: Potential | None, more: int) -> Preparation:
    """The same training from another seed, with the same structures held out."""
    config = preparation.config.model_copy(deep=True)
    config.training.seed += more
    if start is None:
        config.model.cutoff = preparation.cutoff  # else it would follow from the structures that remain
    data, held_out = preparation.data, preparation.held_out
    if held_out and data.validation is None and data.held_out is None:
        outside = {id(s) for s in held_out}
        if data.labelled:
            parts: tuple[list, list] = [], []
            for t in data.labelled:
                parts[id(t.structure) in outside].append(t)
            data = dataclasses.replace(data, labelled=parts[0], held_out=parts[1])
        else:
            structures = [s for s in data.structures if id(s) not in outside]
            data = dataclasses.replace(data, structures=structures, validation=list(held_out))
    return dataclasses.replace(preparation, config=config, data=data)


def _train_by_gradient(
    preparation: Preparation, start, provenance, console: Console, log: Path, checkpoint: Path
) -> tuple[Training, Figure]:
    from jax_models.training.gradient.trainer import train
    from jax_models.training.teachers.teacher_training import train_with_knowledge

    data, config = preparation.data, preparation.config
    if any(STAGE.fullmatch(path.name[len(checkpoint.name) :]) for path in _beginning_with(checkpoint)):
        console.print(f"resuming from {checkpoint}")
    model = data.model(config)
    with _Watch(console, log, bool(preparation.held_out)) as watch:
        more = {"start": start, "checkpoint": checkpoint, "progress": watch, "provenance": provenance}
        try:
            if config.knowledge.strategy == "none":
                result = train(data.structures, *model, validation=data.validation, **more)
            else:
                teaching = data.labelled, data.unlabelled, data.names
                result = train_with_knowledge(*teaching, *model, config.teaching(), validation=data.held_out, **more)
        except KeyboardInterrupt:
            console.print("interrupted: the same command resumes here")
            raise
    return result, training_curve([watch.named(record) for record in result.history])


def _fit_linear(data, config, provenance, console: Console, log: Path) -> tuple[Training, Figure]:
    from jax_models.model_file import write_atomically
    from jax_models.training.linear.linear_trainer import train_linear

    if config.knowledge.strategy != "none":
        raise ConfigError(f"training.method is linear; knowledge.strategy {config.knowledge.strategy} needs gradient")
    model = data.model(config)
    with structure_bar(console, "equations") as progress:
        result = train_linear(
            data.structures, *model, validation=data.validation, progress=progress, provenance=provenance
        )
    write_atomically(log, "".join(json.dumps(record) + "\n" for record in result.history).encode())
    console.print(f"ridge strength {result.potential.provenance['ridge']:.1e}", highlight=False)
    return result, ridge_curve(result.history)


@contextmanager
def structure_bar(console: Console, text: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar over structures, and the function that moves it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Watch:
    """A progress bar and a log, fed with one record an epoch.

    Args:
        validated: whether structures are held out. Else what the trainer measures is the training data again, and is
            called ``averaged`` after the weights that it is measured with.
    """

    def __init__(self, console: Console, log: Path, validated: bool):
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=console)
        self.path = log
        self.validated = validated

    def __enter__(self) -> _Watch:
        try:
            self.log = self.path.open("w")
        except OSError as error:
            raise ModelFileError(f"cannot write {self.path}: {error.strerror}") from None
        self.bar.start()
        self.task = self.bar.add_task("preparing", total=None)
        return self

    def __exit__(self, *_: Any) -> None:
        self.bar.stop()
        self.log.close()

    def named(self, record: dict[str, Any]) -> dict[str, Any]:
        """A record under names that say what was measured."""
        return record if self.validated else {**record, "validation": {}, "averaged": record["validation"]}

    def __call__(self, record: dict[str, Any], epochs: int) -> None:
        print(json.dumps(self.named(record)), file=self.log, flush=True)
        errors = record["validation"] or record["train"]
        measured = "validation" if self.validated else "training (nothing held out)"
        text = f"{record.get('stage', measured)} {1e3 * errors['energy_rmse']:.2f} meV/atom"
        if "force_rmse" in errors:
            text += f"  {errors['force_rmse']:.4f} eV/Å"
        self.bar.update(self.task, total=epochs, completed=record["epoch"], description=text)


def error_table(metrics: dict[str, dict[str, float]], out: Path) -> Table:
    """Errors on each data set, as `jaxff train` prints them."""
    table = Table(title=str(out))
    for column in (
        "",
        "energy MAE\nmeV/atom",
        "energy RMSE\nmeV/atom",
        "force MAE\neV/Å",
        "force RMSE\neV/Å",
        "virial RMSE\nmeV/atom",
    ):
        table.add_column(column, justify="right")
    keys = (
        ("energy_mae", 1e3, ".2f"),
        ("energy_rmse", 1e3, ".2f"),
        ("force_mae", 1, ".4f"),
        ("force_rmse", 1, ".4f"),
        ("virial_rmse", 1e3, ".2f"),
    )
    for name, errors in metrics.items():
        table.add_row(name, *(f"{unit * errors[key]:{form}}" if key in errors else "" for key, unit, form in keys))
    return table
