"""What a run.yaml of `jaxff active` may say, with defaults and ranges."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from jax_models.errors import ConfigError
from jaxff.config import Config, load_config
from jaxff.knowledge.structure_families import FAMILIES
from jaxff.knowledge.teachers import NAME, Teacher, parse_teacher

STATIC = (*FAMILIES, "prototype")
"""Families of structures that need no dynamics."""


def _check_families(names: list[str]) -> None:
    unknown = [name for name in names if name not in STATIC]
    if unknown:
        raise ValueError(f"there is no family {', '.join(unknown)}; there are {', '.join(STATIC)}")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Exploration(Section):
    """One way to meet new structures. Exactly one of ``temperature`` (ASE dynamics), ``families`` and ``lammps``."""

    name: str = Field(pattern=NAME, description="Also the config_type of what it finds.")
    structures: list[str] = Field([], description="Files to start from; those of the run where none are given.")
    atoms: int = Field(32, ge=1, description="A crystal is repeated until it has at least so many.")
    vacancies: int = Field(0, ge=0, description="Atoms that are taken out of the start.")
    surface: tuple[int, int, int] | None = Field(None, description="Miller indices: start from a slab cut so.")
    disordered: bool = Field(False, description="Whether the start's atoms are put at random places: a liquid.")
    replicas: int = Field(1, ge=1, le=1000, description="Runs with other random numbers, in parallel.")
    temperature: list[float] = Field([], description="K: constant, or a ramp through these values.")
    pressure: list[float] | None = Field(None, description="GPa: constant, or a ramp; null: the cell is fixed.")
    steps: int = Field(2000, ge=1, description="Of the dynamics.")
    timestep: float = Field(2.0, gt=0, le=20, description="fs.")
    interval: int = Field(20, ge=1, description="Steps between two looks at the expected errors.")
    families: list[str] = Field([], description=f"Kinds of structures made at random: {', '.join(STATIC)}.")
    number: int = Field(20, ge=1, description="Structures of each family.")
    lammps: str | None = Field(None, description="A LAMMPS input script with pair_style jaxff.")
    variables: dict[str, list[str | float | int]] = Field(
        {}, description="Of the script: a run for each value, as -var NAME VALUE."
    )

    @field_validator("temperature", "pressure", mode="before")
    @classmethod
    def _one_is_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, int | float) else value

    @model_validator(mode="after")
    def _one_kind(self) -> Exploration:
        kinds = [bool(self.temperature), bool(self.families), self.lammps is not None]
        if sum(kinds) != 1:
            raise ValueError("give exactly one of temperature, families and lammps")
        if any(t <= 0 for t in self.temperature):
            raise ValueError("temperatures must be positive (K)")
        _check_families(self.families)
        return self


class Goal(Section):
    """When the loop ends: in one round no run had to be stopped, and this holds for the atoms of all runs."""

    error: float = Field(default=0.2, gt=0, description="eV/Å: the expected force error that is aimed at.")
    quantile: float = Field(default=0.95, gt=0, lt=1, description="The part of the atoms that must be below it.")
    rounds: int = Field(default=10, ge=1, description="At most so many.")
    patience: int = Field(
        default=3, ge=1, description="Rounds without progress after which the loop gives up and says so."
    )


class Selection(Section):
    """What is labelled of all that was found."""

    per_round: int = Field(default=16, ge=1, description="Structures, at most.")
    atoms: int = Field(default=400, ge=1, description="Larger structures are not labelled, and counted.")
    cut: float | None = Field(
        default=None,
        gt=0,
        description="Å: out of larger structures, cells around their most uncertain atoms, exact within this radius.",
    )


class Engine(Section):
    """Who does the work: processes here, a queue of jobs, or a Dask cluster that runs already."""

    workers: int = Field(default=2, ge=1, description="Processes.")
    cluster: str | None = Field(
        default=None, description="A class of dask_jobqueue, such as SLURMCluster; null: processes on this machine."
    )
    settings: dict[str, Any] = Field(default={}, description="Of that class: queue, cores, memory, walltime, ...")
    scheduler: str | None = Field(default=None, description="Address of a Dask scheduler, such as tcp://login1:8786.")
    threads: int = Field(default=1, ge=1, description="Of each process that labels, as OMP_NUM_THREADS and the like.")
    labelling: Engine | None = Field(
        default=None, description="Who labels, with the same keys; null: those who do everything else."
    )

    @property
    def of_labels(self) -> Engine:
        return self.labelling or self


class Active(Section):
    """A run of `jaxff active`."""

    out: str = Field(description="The folder that holds everything.")
    data: list[str] = Field([], description="Labelled structures to begin with.")
    structures: list[str] = Field([], description="Crystals to start from; else the first frame of the data.")
    labeller: dict[str, Any] = Field(description="As a teacher of `jaxff label`: pair_style, ase, jaxff or kim.")
    begin: list[str] | None = Field(
        None, description="Families to label first, a dozen of each; null: strain and rattle, where there are no data."
    )
    explore: list[Exploration] = Field(min_length=1)
    goal: Goal = Goal()
    select: Selection = Selection()
    train: dict[str, Any] = Field({}, description="Of `jaxff train`: dotted keys and values.")
    engine: Engine = Engine()
    timeout: float = Field(3600.0, gt=0, description="s, for one label.")
    seed: int = Field(0, ge=0)
    folder: str = Field(".", exclude=True)

    @model_validator(mode="after")
    def _names_differ(self) -> Active:
        names = [e.name for e in self.explore]
        if len(set(names)) < len(names):
            raise ValueError("two explorations have the same name")
        _check_families(self.begin or [])
        if not self.data and self.begin == []:
            raise ValueError("give data (labelled structures) or begin (families of structures to label first)")
        if not self.data and not self.structures:
            raise ValueError("give data (labelled structures), structures (crystals to start from) or both")
        return self

    @property
    def root(self) -> Path:
        return Path(self.folder, self.out)

    def paths(self, names: list[str]) -> list[Path]:
        """Files as the run names them, relative to the place of the run.yaml."""
        found = [Path(self.folder, name) for name in names]
        for path in found:
            if not path.is_file():
                raise ConfigError(f"there is no file {path}")
        return found

    def teacher(self) -> Teacher:
        """The labeller.

        Raises:
            ConfigError: it is of no known kind, or lacks something.
        """
        return parse_teacher({"name": "labeller", **self.labeller}, self.folder, "labeller")

    def config(self) -> Config:
        """Of the trainings.

        Raises:
            ConfigError: an unknown key or a wrong value.
        """
        return load_config(overrides=[f"{key}={yaml.safe_dump(value).strip()}" for key, value in self.train.items()])


def read_active(path: str | os.PathLike) -> Active:
    """The run that a YAML file describes.

    Raises:
        ConfigError: it cannot be read, lacks something, or has a key or value that makes no sense.
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold the sections out, labeller, explore, ...")
    try:
        # In full: workers may have another working directory.
        run = Active.model_validate({**content, "folder": str(Path(path).absolute().parent)})
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, p['loc'])) or 'run'}: {p['msg'].lower()}" for p in error.errors()]
        raise ConfigError(f"{path}: {'; '.join(problems)}") from None
    if not run.config().training.heads:
        raise ConfigError(f"{path}: train: training.heads is 0, and the loop is steered by what heads know of errors")
    inputs = run.paths([*run.data, *run.structures, *(name for e in run.explore for name in e.structures)])
    inputs += run.paths([e.lammps for e in run.explore if e.lammps is not None])
    inside = [file for file in [*inputs, *run.teacher().files()] if run.root.resolve() in file.resolve().parents]
    if inside:
        raise ConfigError(
            f"{path}: {inside[0]} lies where the run writes, in {run.root}; let out be a folder of its own"
        )
    return run
