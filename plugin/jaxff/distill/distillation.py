"""From teachers and crystals to a fast potential and a comparison; each step is kept, and a second call goes on."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from ase.calculators.calculator import Calculator
from rich.console import Console

from jax_models import Potential
from jax_models.errors import ConfigError, JaxffError
from jaxff import JaxffCalculator
from jaxff.active.exploration import explore
from jaxff.active.folder import Folder, read_frames, read_record, write_frames, write_record
from jaxff.active.loop import run_active
from jaxff.active.settings import Active, read_active
from jaxff.active.training import train_potential, write_parts
from jaxff.distill.comparison import liquid, properties, property_rows, speed, state_errors
from jaxff.distill.material import Material, survey
from jaxff.distill.plan import ERROR, plan
from jaxff.io import read_frames as read_any
from jaxff.knowledge.teachers import JaxffTeacher, Teacher, parse_teacher, read_teachers

LAST = 5.0
"""Times the neighbours of a training in the loop that the last one sees."""
FRAMES = 8
"""Of each state that the comparison looks at."""


@dataclass(frozen=True)
class Request:
    """What is distilled: files of teachers and structures, where to, and how; see `plan.plan` for ``options``."""

    teachers: list[Path]
    structures: list[Path]
    out: Path
    options: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Everything but the potential."""
        return Path(f"{self.out}.distill")


def labeller_of(teachers: Sequence[Path]) -> Teacher:
    """The teacher: the mean of ``.jaxff`` files, or the one that a YAML file describes.

    Raises:
        ConfigError: several teachers that are not all ``.jaxff`` files, or a YAML file with several.
    """
    described = [path for path in teachers if path.suffix in (".yaml", ".yml")]
    if described and len(teachers) == 1:
        found = read_teachers(described[0])
        if len(found) > 1:
            raise ConfigError(f"{described[0]} describes {len(found)} teachers; distill learns from one")
        return found[0]
    if described:
        raise ConfigError("several teachers must all be .jaxff files")
    # Read before anything is written, and proven where they first label; by full paths: the run's folder is another.
    for path in teachers:
        Potential.load(path, verify=False)
    paths = [str(path.resolve()) for path in teachers]
    return parse_teacher({"name": "teacher", "jaxff": paths[0] if len(paths) == 1 else paths}, ".", "--teacher")


def distill(request: Request, console: Console) -> dict[str, Any]:
    """Do all of it, and return the comparison.

    Raises:
        ConfigError: teachers or options that make no sense, or a folder that belongs to another distillation.
        StructureError: structures that are no crystals, or that the teacher cannot evaluate.
        JaxffError: labels or trainings fail for good.
    """
    folder = request.folder
    folder.mkdir(parents=True, exist_ok=True)
    teacher = labeller_of(request.teachers)
    material = _surveyed(request, teacher, console)
    described = {**teacher.model_dump(exclude={"name"}), **_located(teacher)}
    settings = plan(material, described, "structures.xyz", "run", **request.options)
    (folder / "run.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    run = read_active(folder / "run.yaml")
    console.print(
        f"melts near {material.melting:.0f} K by Lindemann's rule, bulk modulus {material.bulk_modulus:.0f} GPa, time "
        f"step {material.timestep:g} fs; aiming at force errors of {run.goal.error:.3g} eV/Å",
        highlight=False,
    )
    outcome = run_active(run, console)
    student = _last_training(run, folder, outcome.rounds, console)
    potential = _with_origin(Potential.load(student), request, teacher)
    potential.save(request.out)
    comparison = {
        "goal_met": outcome.met,
        "why": outcome.why,
        "labels": _labels(run),
        "error_asked_for": request.options.get("error", ERROR),
    }
    return comparison | _compared(request, run, material, teacher, console)


def _located(teacher: Teacher) -> dict[str, Any]:
    """Files by full paths, for a run.yaml that stands elsewhere."""
    if isinstance(teacher, JaxffTeacher):
        paths = [str(path.resolve()) for path in teacher.files()]
        return {"jaxff": paths[0] if len(paths) == 1 else paths}
    lines = getattr(teacher, "lines", None)
    if lines is None:
        return {}
    # LAMMPS's commands with the full paths of their files.
    commands = [line.split(maxsplit=1) for line in lines()]
    coefficients = [line for word, line in commands if word == "pair_coeff"]
    return {"pair_coeff": coefficients}


def _kept(path: Path, compute: Callable[[], Any]) -> Any:
    if not path.exists():
        write_record(path, compute())
    return read_record(path)


def _surveyed(request: Request, teacher: Teacher, console: Console) -> Material:
    """What the teacher says of the structures; and that the folder is of this request."""
    folder = request.folder
    given = [atoms for path in request.structures for atoms in read_any(path)]
    digest = hashlib.sha256(teacher.digest().encode())
    for atoms in given:
        for array in (atoms.numbers, atoms.positions, atoms.cell.array):
            digest.update(np.ascontiguousarray(array, float).tobytes())
    path = folder / "material.json"
    if path.exists() and read_record(path)["digest"] != digest.hexdigest():
        raise ConfigError(f"{folder} holds a distillation of other structures or teachers; choose another --out")

    def compute() -> dict[str, Any]:
        with console.status("asking the teacher about the structures"):
            found = survey(given, teacher.calculator())
        write_frames(folder / "structures.xyz", found.structures)
        return {
            "digest": digest.hexdigest(),
            "melting_k": found.melting,
            "stiffness_ev_a2": found.stiffness,
            "bulk_modulus_gpa": found.bulk_modulus,
            "timestep_fs": found.timestep,
        }

    kept = _kept(path, compute)
    structures = read_frames(folder / "structures.xyz")
    return Material(
        structures, kept["melting_k"], kept["stiffness_ev_a2"], kept["bulk_modulus_gpa"], kept["timestep_fs"]
    )


def _labels(run: Active) -> int:
    return sum(len(read_frames(path)) for path in sorted(run.root.glob("round-*/labelled.xyz")))


def _last_training(run: Active, folder: Path, rounds: Sequence[Mapping[str, Any]], console: Console) -> Path:
    """A longer training, from the start, on all that was labelled."""
    final, train, valid = folder / "final.jaxff", folder / "train.xyz", folder / "valid.xyz"
    last = Folder(run.root)
    number = int(rounds[-1]["round"])
    frames = [
        frame for name in ("train.xyz", "valid.xyz", "labelled.xyz") for frame in read_frames(last.round(number, name))
    ]
    if not train.exists() or len(read_frames(train)) + len(read_frames(valid)) != len(frames):
        final.unlink(missing_ok=True)
        write_parts(frames, train, valid)
    visits = LAST * float(run.train["training.neighbor_visits"])
    with console.status(f"the last training, on {len(frames)} structures"):
        train_potential(str(train), str(valid), str(final), [f"training.neighbor_visits={visits:g}"], None)
    return final


def _with_origin(potential: Potential, request: Request, teacher: Teacher) -> Potential:
    """With the teacher's name, licence and citation, which are the student's too."""
    names, licences, citations = [], [], []
    for path in request.teachers:
        origin: dict[str, Any] = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        if isinstance(teacher, JaxffTeacher):
            theirs = Potential.load(path, verify=False)
            origin["imported"] = theirs.provenance.get("imported", "")
            licences.append(theirs.provenance.get("license", ""))
            citations.append(theirs.contract.citation)
        names.append(origin)
    unique = lambda texts: "; ".join(dict.fromkeys(text for text in texts if text))  # noqa: E731
    provenance = {**potential.provenance, "distilled": names}
    if unique(licences):
        provenance["license"] = unique(licences)
    contract = dataclasses.replace(potential.contract, citation=unique([potential.contract.citation, *citations]))
    return dataclasses.replace(potential, provenance=provenance, contract=contract)


def _compared(request: Request, run: Active, material: Material, teacher: Teacher, console: Console) -> dict[str, Any]:
    """The comparison, one part after another, each kept for this student."""
    digest = hashlib.sha256(request.out.read_bytes()).hexdigest()[:12]
    place = request.folder / f"comparison-{digest}"
    place.mkdir(exist_ok=True)
    ours, theirs = JaxffCalculator(request.out), teacher.calculator()
    exact = JaxffCalculator(request.out, precision="double"), _in_double(teacher)
    crystals = material.structures
    with console.status("comparing: every state that was explored"):
        states = {e.name: _state(request.out, run, n, crystals, place) for n, e in enumerate(run.explore)}
        errors = _kept(place / "states.json", lambda: state_errors(states, ours, theirs))
    rows = []
    for n, crystal in enumerate(crystals):
        name = f"{n + 1} {crystal.get_chemical_formula()}"
        found: list[Mapping[str, Any]] = []
        for who, calculator in zip(("student", "teacher"), exact, strict=True):
            with console.status(f"comparing: properties of {crystal.get_chemical_formula()}, {who}"):
                path = request.folder if who == "teacher" else place
                computed = functools.partial(properties, crystal, calculator)
                found.append(_kept(path / f"properties-{who}-{n}.json", computed))
        rows += property_rows(name, found[0], found[1])
    result = {"states": errors, "properties": rows}
    hot = [e for e in run.explore if e.name == "liquid"]
    if hot and states["liquid"]:
        start, temperature = states["liquid"][-1], hot[0].temperature[-1]

        def rdf(calculator: Calculator) -> dict[str, Any]:
            try:
                return liquid(start, calculator, temperature, hot[0].timestep, run.seed)
            except JaxffError as error:
                return {"error": str(error)}

        with console.status("comparing: the liquid, student"):
            result["liquid_student"] = _kept(place / "liquid-student.json", lambda: rdf(ours))
        with console.status("comparing: the liquid, teacher"):
            result["liquid_teacher"] = _kept(place / "liquid-teacher.json", lambda: rdf(theirs))
        result["liquid_k"] = temperature
    with console.status("comparing: speed"):
        result["speed_us"] = _kept(
            place / "speed.json", lambda: {"student": speed(crystals[0], ours), "teacher": speed(crystals[0], theirs)}
        )
    return result


def _in_double(teacher: Teacher) -> Calculator:
    if isinstance(teacher, JaxffTeacher) and isinstance(teacher.jaxff, str):
        return JaxffCalculator(teacher.files()[0], precision="double")
    return teacher.calculator()


def _state(student: Path, run: Active, index: int, crystals: Sequence[Atoms], place: Path) -> list[Atoms]:
    """Fresh structures of one exploration, met by the student."""
    exploration = run.explore[index]
    out = place / f"{exploration.name}.xyz"
    # Of no round of the loop: another random number.
    explore(str(student), exploration, crystals, [run.seed + 1, 10_000, index, 0], float("inf"), out)
    frames = read_frames(out)
    places = np.unique(np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).round().astype(int))
    return [frames[place] for place in places] if frames else []


def write_comparison(comparison: Mapping[str, Any], folder: Path) -> None:
    """``comparison.json`` and, for people, ``comparison.png``."""
    from jaxff.distill.report import comparison_plot
    from jaxff.plots.figures import save

    write_record(folder / "comparison.json", json.loads(json.dumps(comparison)))
    save(comparison_plot(comparison), folder / "comparison.png")
