"""The loop: train, explore, choose, label, and again, until the goal is met. Every step that is done stays done."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from rich.console import Console

from jax_models import Potential
from jax_models.errors import ConfigError, JaxffError
from jax_models.model_file import write_atomically
from jax_models.training.uncertainty.assess import SMALLEST_FORCE
from jaxff.active.choice import choose, worth
from jaxff.active.cutting import check_cut
from jaxff.active.engine import Task, Workers, workers
from jaxff.active.exploration import explore
from jaxff.active.folder import Folder, identity, only_one, read_frames, read_record, write_frames, write_record
from jaxff.active.labelling import check_order, label_some, labelled, unanswered
from jaxff.active.lammps_exploration import explore_in_lammps
from jaxff.active.settings import Active, Exploration
from jaxff.active.training import FRESH, train_potential, write_parts
from jaxff.io import read_frames as read_any
from jaxff.io import read_labelled_frames
from jaxff.knowledge.structure_families import Recipe, make_structures, supercell

BEGINNING = 12
"""Structures of each family that is labelled first."""
FIRST = ("strain", "rattle")
"""The families, where there are no labelled data and no others are asked for."""
BELIEVED = 0.8
"""Of the atoms that were labelled in a round, the part whose errors must be as expected; 0.9 are, of atoms like those
of the training, and these were chosen for being unlike."""
FAR = 3.0
"""Times the error that is aimed at: where a force is expected to be worse, a run is stopped."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    met: bool
    """Whether the goal was."""
    why: str
    potential: Path
    rounds: list[dict[str, Any]]


def run_active(run: Active, console: Console) -> Outcome:
    """Everything that `jaxff active` does; a run that was interrupted goes on where it was.

    Raises:
        ConfigError: the folder belongs to another run, or another `jaxff active` is at work in it.
        JaxffError: labels or trainings fail for good.
    """
    try:
        run.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {run.root}: {error.strerror}") from None
    folder = Folder(run.root)
    separate = run.engine.labelling
    try:
        with only_one(run.root):
            _same_run(folder, run)
            with (
                workers(run.engine) as pool,
                workers(separate) if separate else nullcontext(pool) as labellers,
            ):
                return Loop(run, folder, pool, labellers, console).run()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise JaxffError(f"{run.root}: {error.strerror}; make room, and the same command goes on") from None


def _same_run(folder: Folder, run: Active) -> None:
    """A folder is of one run: what may change is how long and on which machines it works."""
    path = folder.root / "run.json"
    described = _described(run)
    # By way of the settings, for those that did not exist when the folder was begun.
    if path.exists() and _described(Active.model_validate(read_record(path))) != described:
        raise ConfigError(
            f"{folder.root} holds a run with other settings; name another folder under out, or take the settings back "
            "(goal, engine and timeout may change)"
        )
    write_record(path, described)


def _described(run: Active) -> dict[str, Any]:
    described = {key: value for key, value in run.model_dump().items() if key not in ("engine", "goal", "timeout")}
    return json.loads(json.dumps(described))


@dataclass(frozen=True)
class Loop:
    """A run, its folder, and who works for it."""

    run_settings: Active
    folder: Folder
    pool: Workers
    labellers: Workers
    console: Console

    def run(self) -> Outcome:
        goal = self.run_settings.goal
        self._check_labeller()
        records: list[dict[str, Any]] = []
        frames = self._beginning()
        for number in range(goal.rounds):
            record = self._round(number, frames)
            records.append(record)
            self._write_rounds(records)
            self._tell(record)
            potential = self.folder.round(number, "model.jaxff")
            if record["met"]:
                return self._ended(Outcome(True, f"the goal was met in round {number}", potential, records))
            if _stuck(records, goal.patience):
                why = (
                    f"the expected error did not fall in {goal.patience} rounds; it stays at "
                    f"{record['error_quantile']:.3g} eV/Å where {goal.error:g} was asked for. More structures a round, "
                    "a larger model or another goal may help"
                )
                return self._ended(Outcome(False, why, potential, records))
            frames = frames + read_frames(self.folder.round(number, "labelled.xyz"))
        why = f"{goal.rounds} rounds were not enough; the same command with a larger goal.rounds goes on"
        return self._ended(Outcome(False, why, potential, records))

    def _beginning(self) -> list[Atoms]:
        """The labelled structures of the first round: those given, and what is made where there are none."""
        run, path = self.run_settings, self.folder.root / "beginning.xyz"
        if not path.exists():
            given = [atoms for file in run.paths(run.data) for atoms in read_labelled_frames(file)]
            for atoms in given:
                atoms.info["id"] = identity(atoms)
            families = ([] if given else FIRST) if run.begin is None else run.begin
            if families:
                recipe = Recipe(rattle=0.1, strain=0.03)
                made = list(make_structures(self._crystals(), families, BEGINNING, run.seed, recipe))
                labels, failed = self._label(made, self.folder.round(0, "beginning"))
                given += labels
                if not given:
                    raise JaxffError(
                        f"the labeller failed on all {len(failed)} structures of the beginning: {failed[0]['error']}"
                    )
            write_frames(path, given)
        return read_frames(path)

    def _check_labeller(self) -> None:
        """Once: whether it labels at all, and keeps the order of atoms.

        Raises:
            JaxffError: it fails on both structures that are tried.
        """
        place = self.folder.round(0, "probe")
        done = place / "done.json"
        if done.exists():
            return
        crystal = self._crystals()[0]
        atoms = supercell(crystal, 2) if crystal.pbc.all() else crystal.copy()
        atoms.positions += np.random.default_rng(self.run_settings.seed).normal(scale=0.1, size=atoms.positions.shape)
        failures = []

        def answers(frames: list[Atoms]) -> list[Atoms]:
            given, failed = self._label(frames, place)
            failures.extend(failed)
            return given

        check_order(answers, atoms)
        if len(failures) == 2:
            raise JaxffError(
                f"the labeller fails on {atoms.get_chemical_formula()}, a structure to start from with its atoms "
                f"displaced a little: {failures[0]['error']}"
            )
        write_record(done, {"keeps the order of atoms": True})

    def _crystals(self, names: Sequence[str] = ()) -> list[Atoms]:
        run = self.run_settings
        files = run.paths(list(names) or run.structures)
        if files:
            return [atoms for file in files for atoms in read_any(file)]
        return [read_any(run.paths(run.data)[0])[0]]

    def _round(self, number: int, frames: list[Atoms]) -> dict[str, Any]:
        done = self.folder.round(number, "round.json")
        if done.exists():
            return read_record(done) | {"met": self._met(read_record(done))}
        model = self._train(number, frames)
        potential = Potential.load(model)
        if potential.uncertainty is None:
            raise ConfigError(
                "train says heads: 0 or a model without uncertainty; the loop is steered by expected errors"
            )
        check_cut(self.run_settings.select, potential.cutoff)
        limit = max(FAR * self.run_settings.goal.error, _edge(potential))
        found = self._explore(number, model, limit)
        selected = self._select(number, potential, frames, found)
        new, failed = self._label(selected, self.folder.round(number, "labels"), number)
        if selected and not new:
            raise JaxffError(
                f"the labeller failed on all {len(selected)} structures of round {number}: {failed[0]['error']}"
            )
        write_frames(self.folder.round(number, "labelled.xyz"), new)
        runs = [record for record, _ in found]
        quantile = _quantile(runs, self.run_settings.goal.quantile)
        record = {
            "round": number,
            "structures": len(frames),
            "labels": len(new),
            "failed": failed,
            "too_large": self._too_large(number),
            "coverage": potential.provenance["uncertainty"]["coverage"],
            "error_quantile": quantile,
            "threshold": limit,
            "force_rmse": _force_rmse(potential),
            "runs": [{key: record[key] for key in ("name", "steps", "stopped", "highest")} for record in runs],
            **worth(potential, new),
        }
        write_record(done, record)
        return record | {"met": self._met(record)}

    def _met(self, record: dict[str, Any]) -> bool:
        """Whether no run was stopped, the errors are as asked for, and the newest labels do not contradict them."""
        stopped = any(run["stopped"] for run in record["runs"])
        believed = record["new_coverage"] is None or record["new_coverage"] >= BELIEVED
        return not stopped and believed and record["error_quantile"] <= self.run_settings.goal.error

    def _train(self, number: int, frames: list[Atoms]) -> Path:
        model = self.folder.round(number, "model.jaxff")
        if model.exists():
            return model
        train, valid = self.folder.round(number, "train.xyz"), self.folder.round(number, "valid.xyz")
        if not train.exists():
            write_parts(frames, train, valid)
        begin = self.folder.round(number, "start.json")
        if not begin.exists():
            write_record(begin, self._start_of(number, len(frames)))
        recorded = read_record(begin)["from"]
        # By the name of its round: the folder may have been moved.
        start = None if recorded is None else str(self.folder.root.joinpath(*Path(recorded).parts[-2:]))
        settings = [f"{key}={yaml.safe_dump(value).strip()}" for key, value in self.run_settings.train.items()]
        settings = [s for s in settings if start is None or not s.startswith("model.")]
        with self.console.status(f"round {number}: training on {len(frames)} structures"):
            self.pool.run([(train_potential, str(train), str(valid), str(model), settings, start)])
        return model

    def _start_of(self, number: int, structures: int) -> dict[str, Any]:
        """Which potential a training starts from: none, where the last new one saw far fewer structures."""
        for earlier in range(number - 1, -1, -1):
            record = read_record(self.folder.round(earlier, "start.json"))
            if record["from"] is None:
                if structures < FRESH * record["structures"]:
                    return {"from": str(self.folder.round(number - 1, "model.jaxff")), "structures": structures}
                break
        return {"from": None, "structures": structures}

    def _explore(self, number: int, model: Path, limit: float) -> list[tuple[dict[str, Any], list[Atoms]]]:
        tasks: list[Task] = []
        places = []
        for index, exploration in enumerate(self.run_settings.explore):
            for replica, variables in enumerate(_replicas(exploration)):
                out = self.folder.round(number, "explored", f"{exploration.name}-{replica}.xyz")
                places.append(out)
                if exploration.lammps is not None:
                    script = self.run_settings.paths([exploration.lammps])[0].resolve()
                    tasks.append(
                        (explore_in_lammps, str(model.resolve()), exploration, script, variables, limit, out.resolve())
                    )
                    continue
                seeds = [self.run_settings.seed, number, index, replica]
                crystals = self._crystals(exploration.structures)
                tasks.append((explore, str(model), exploration, crystals, seeds, limit, out))
        with self.console.status(f"round {number}: {len(tasks)} explorations"):
            records = self.pool.run(tasks)
        return [(record, read_frames(place)) for record, place in zip(records, places, strict=True)]

    def _select(self, number: int, potential: Potential, frames: list[Atoms], found: list) -> list[Atoms]:
        path = self.folder.round(number, "selected.xyz")
        if not path.exists():
            candidates = [frame for _, explored in found for frame in explored]
            earlier = [read_record(self.folder.round(n, "round.json"))["failed"] for n in range(number)]
            failed = {entry["id"] for entries in earlier for entry in entries}
            chosen, left_out = choose(potential, frames, candidates, self.run_settings.select, failed)
            write_record(path.with_suffix(".json"), {"too_large": left_out})
            write_frames(path, chosen)
        return read_frames(path)

    def _too_large(self, number: int) -> int:
        path = self.folder.round(number, "selected.json")
        return read_record(path)["too_large"] if path.exists() else 0

    def _label(self, frames: list[Atoms], place: Path, number: int = 0) -> tuple[list[Atoms], list[dict[str, str]]]:
        teacher = self.run_settings.teacher()
        described = teacher.model_dump()
        place.mkdir(parents=True, exist_ok=True)
        for attempt in itertools.count(len(list(place.glob("*-0.jsonl")))):
            todo = unanswered(frames, teacher, self._journals())
            if not todo:
                break
            engine = self.run_settings.engine.of_labels
            n = min(engine.workers, len(todo))
            tasks = [
                (
                    label_some,
                    todo[k::n],
                    described,
                    teacher.folder,
                    place / f"{attempt}-{k}.jsonl",
                    self.run_settings.timeout,
                    engine.threads,
                )
                for k in range(n)
            ]
            with self.console.status(f"round {number}: labelling {len(todo)} structures"):
                self.labellers.run(tasks)
        return labelled(frames, teacher, self._journals(), number)

    def _journals(self) -> list[Path]:
        return sorted(self.folder.root.glob("round-*/*/*.jsonl"))

    def _write_rounds(self, records: list[dict[str, Any]]) -> None:
        write_atomically(self.folder.rounds, "".join(json.dumps(record) + "\n" for record in records).encode())

    def _tell(self, record: dict[str, Any]) -> None:
        stopped = sum(bool(run["stopped"]) for run in record["runs"])
        self.console.print(
            f"round {record['round']}: {record['structures']} structures, validation {record['force_rmse']:.3f} eV/Å; "
            f"{len(record['runs'])} runs, {stopped} stopped; expected error "
            f"{record['error_quantile']:.3g} eV/Å at quantile {self.run_settings.goal.quantile:g} "
            f"(limit {record['threshold']:.3g}); {record['labels']} new labels"
            + (f", {len(record['failed'])} failed" if record["failed"] else "")
            + (f", {record['too_large']} structures too large for labels" if record.get("too_large") else ""),
            highlight=False,
        )
        for run in record["runs"]:
            if run["stopped"]:
                self.console.print(f"    {run['name']}: {run['stopped']}", highlight=False, markup=False)

    def _ended(self, outcome: Outcome) -> Outcome:
        final = self.folder.root / "model.jaxff"
        write_atomically(final, outcome.potential.read_bytes())
        return dataclasses.replace(outcome, potential=final)


def _replicas(exploration: Exploration) -> list[dict[str, str]]:
    """Variables of each run: one for each combination of values, times the replicas."""
    names = list(exploration.variables)
    values = [[str(v) for v in exploration.variables[name]] for name in names]
    combinations = [dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*values)]
    return combinations * (1 if exploration.families else exploration.replicas)


def _edge(potential: Potential) -> float:
    """The expected error (eV/Å) at the edge of the training, of a force as large as they are on average."""
    uncertainty: Any = potential.uncertainty
    return float(uncertainty.expected_error(np.ones(1), np.full((1, 3), _typical_force(potential)))[0])


def _typical_force(potential: Potential) -> float:
    uncertainty: Any = potential.uncertainty
    return float(uncertainty.smallest_force) / SMALLEST_FORCE / 3.0**0.5


def _quantile(runs: Sequence[dict[str, Any]], quantile: float) -> float:
    """Of the expected errors of all runs, each counting alike."""
    known = [np.interp(quantile, np.linspace(0, 1, 101), run["quantiles"]) for run in runs if run["quantiles"]]
    return float(max(known)) if known else float("inf")


def _force_rmse(potential: Potential) -> float:
    metrics = potential.provenance["metrics"]
    return float(metrics.get("validation", metrics["train"]).get("force_rmse", float("nan")))


def _stuck(records: Sequence[dict[str, Any]], patience: int) -> bool:
    """Whether neither the error nor the number of stopped runs has fallen for so many rounds."""
    if len(records) <= patience:
        return False

    def score(record: dict[str, Any]) -> tuple[int, float]:
        return sum(bool(run["stopped"]) for run in record["runs"]), record["error_quantile"]

    best_before = min(score(record) for record in records[:-patience])
    return all(score(record) >= best_before for record in records[-patience:])
