"""The configuration of `jaxff train`: what a YAML file or ``--set`` may say, with defaults, ranges and a JSON
schema."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from jax_models.errors import ConfigError
from jax_models.training.settings import Settings
from jax_models.training.teachers.knowledge_settings import Knowledge
from jaxff.architecture_section import canonical, model_name, schema_of_model
from jaxff.spelling import guess

if TYPE_CHECKING:
    from jax_models.training.data.structures import Structure
    from jaxff.io.labels import Labels

PUBLISHED_CUTOFF = 5.0
"""Å; of message-passing architectures, which see several cutoffs far."""


class DataConfig(BaseModel):
    """Under which names the labels stand in the files, and how much files or kinds of structures count."""

    model_config = ConfigDict(extra="forbid")
    energy_key: str = Field(
        default="energy", description="Total energy, eV. Common other names of labels are found where these are absent."
    )
    forces_key: str = Field(default="forces", description="Forces, eV/Å.")
    stress_key: str = Field(default="stress", description="Stress, eV/Å^3, ASE's sign.")
    virial_key: str = Field(
        default="virial", description="Minus stress times volume, eV; counts where there is no stress."
    )
    density_key: str = Field(
        default="energy_density",
        description="Energy density on a grid, eV/Å^3, [n1, n2, n3]; for reference_points grid.",
    )
    weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default_factory=dict,
        description="What the loss of structures is multiplied by, for each file or config_type that is named: "
        "{slabs.xyz: 0.1, liquid: 2}.",
    )

    def labels(self) -> Labels:
        """The names alone."""
        from jaxff.io.labels import Labels

        return Labels(**self.model_dump(exclude={"weights"}))


class ModelConfig(BaseModel):
    """The architecture. A message-passing model has a name of its own, and its settings beside it."""

    model_config = ConfigDict(extra="allow")
    cutoff: float | None = Field(
        default=None,
        gt=0,
        description="Å; neighbours at a smaller distance are seen. null: 5 to 6, by how dense the data are; "
        "learned messages: 5.",
    )
    name: str | None = Field(default=None, description="A message-passing architecture; null: descriptor and readout.")
    descriptor: dict[str, Any] | None = Field(
        default=None, description="Environment -> features: a name and its settings."
    )
    reference_points: str | dict[str, Any] | None = Field(
        default=None,
        description="Where environments are looked at from: a name, or a name and its settings; null: atoms.",
    )
    readout: dict[str, Any] | None = Field(default=None, description="Features -> energy: a name and its settings.")
    priors: list[dict[str, Any]] | None = Field(
        default=None,
        description="Physics added before learning: names and their settings. null: zbl below the distances of the "
        "data, where the model sees neighbours; []: none.",
    )

    def architecture(self) -> dict[str, Any]:
        """What `jax_models.models.build` takes."""
        return self.model_dump(exclude={"cutoff"}, exclude_none=True)

    def cutoff_for(self, structures: Sequence[Structure]) -> float:
        """The cutoff (Å) of a model that is trained on ``structures``."""
        from jax_models.training.data.structures import natural_cutoff

        if self.cutoff is not None:
            return self.cutoff
        return PUBLISHED_CUTOFF if self.name is not None else natural_cutoff(structures)


def _section(settings: type, name: str, doc: str, **more: Any) -> type[BaseModel]:
    """A dataclass of settings as a pydantic model: one list of settings, checked where it is used and described
    here."""
    hints = get_type_hints(settings)
    entries: dict[str, Any] = {}
    for item in dataclasses.fields(settings):
        choices = item.metadata["choices"]
        kind = hints[item.name]
        if choices:
            kind = Literal[choices] if item.default is not None else Literal[choices] | None
        if kind == tuple[float, ...]:
            kind = Annotated[kind, BeforeValidator(lambda value: value if isinstance(value, list | tuple) else [value])]
        entries[item.name] = (
            kind,
            Field(item.default, description=item.metadata["description"], **item.metadata["bounds"]),
        )
    return create_model(name, __config__=ConfigDict(extra="forbid"), __doc__=doc, **more, **entries)


# Any: a type checker cannot see the fields of classes that are made here.
TrainingConfig: Any = _section(Settings, "TrainingConfig", "How the model is trained.")
KnowledgeConfig: Any = _section(
    Knowledge,
    "KnowledgeConfig",
    "What is learned from teachers, whose labels `jaxff label` writes.",
    unlabelled=(list[str], Field([], description="More files with teachers' labels.")),
    teacher_file=(
        str | None,
        Field(None, description="The teachers' own file: a delta model then says how to run its teacher."),
    ),
)


class Config(BaseModel):
    """All of it. Example: ``Config.model_validate({"training": {"epochs": 10}})``."""

    model_config = ConfigDict(extra="forbid")
    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    knowledge: KnowledgeConfig = Field(default_factory=KnowledgeConfig)

    def settings(self) -> Settings:
        """Those of the trainer. A model of whole cells is fitted linearly, and to energies alone unless the weights of
        forces and stress are given: their equations cost a derivative of all features for each coordinate."""
        from jax_models.models import sees_whole_cell

        values = self.training.model_dump()
        if sees_whole_cell(self.model.architecture()):
            unasked = {"force_weight", "stress_weight"} - self.training.model_fields_set
            values |= dict.fromkeys(unasked, 0.0) | {"method": values["method"] or "linear"}
        return Settings(**values)

    def files(self) -> list[Path]:
        """The files that it names, beside those of the data."""
        return [Path(name) for name in (*self.knowledge.unlabelled, self.knowledge.teacher_file) if name is not None]

    def teaching(self) -> Knowledge:
        return Knowledge(**self.knowledge.model_dump(exclude={"unlabelled", "teacher_file"}))


def load_config(
    path: str | os.PathLike | None = None, model: str | None = None, overrides: Iterable[str] = (), **training: Any
) -> Config:
    """The configuration from a YAML file, a model's name and ``dotted.key=value`` overrides; later ones win.

    Args:
        path: YAML; None for the defaults.
        model: a descriptor (``ace``, ...) or a message-passing architecture, with its default settings.
        overrides: e.g. ``training.epochs=100``, ``model.descriptor.l_max=2``; values are read as YAML.
        training: settings of the section ``training`` that are not None.

    Raises:
        ConfigError: the file cannot be read; an unknown key, or a value of the wrong type or outside its range.

    Example:
        >>> load_config(overrides=["training.epochs=100"]).training.epochs
        100
    """
    content = _read(path) if path is not None else {}
    if model is not None:
        section = content.setdefault("model", {})
        if not isinstance(section, dict):
            raise ConfigError(f"model in {path} is {section!r}; it must be a section, such as {{name: painn}}")
        section.pop("name", None)
        section.pop("descriptor", None)
        section.update(model_name(model))
    for override in overrides:
        apply_override(content, override)
    for key, value in training.items():
        if value is not None:
            content.setdefault("training", {})[key] = value
    if isinstance(content.get("model"), dict):
        content["model"] = canonical(content["model"])
    try:
        return Config.model_validate(content)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def default_yaml() -> str:
    """The default configuration, every setting with its description."""
    from jax_models.descriptors import DESCRIPTORS
    from jax_models.readouts import READOUTS

    content = Config().model_dump()
    content["model"]["descriptor"] = {"name": "ace", **DESCRIPTORS["ace"].defaults}
    content["model"]["readout"] = {"name": "mlp", **READOUTS["mlp"].defaults}
    lines = []
    for name, section in Config.model_fields.items():
        kind: Any = section.annotation
        lines.append(f"{name}:  # {kind.__doc__.splitlines()[0]}")
        for key, item in kind.model_fields.items():
            value = _plain(content[name][key])
            lines += [
                f"  # {item.description}",
                f"  {key}: {yaml.safe_dump(value, default_flow_style=True, width=1000).splitlines()[0]}",
            ]
    return "\n".join(lines) + "\n"


def schema() -> dict[str, Any]:
    """JSON schema of the configuration, for editors."""
    found = Config.model_json_schema()
    found["$defs"]["ModelConfig"] = schema_of_model(found["$defs"]["ModelConfig"])
    return found


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 1e-3 as text; people mean a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _read(path: str | os.PathLike) -> dict[str, Any]:
    try:
        content = yaml.load(Path(path).read_text(), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the configuration {path}: {getattr(error, 'strerror', None) or error}"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold sections ({', '.join(Config.model_fields)}), not {type(content).__name__}")
    return {key: {} if value is None else value for key, value in content.items()}


def apply_override(content: dict[str, Any], override: str) -> None:
    """Put the value of ``dotted.key=value``, read as YAML, into ``content``.

    Raises:
        ConfigError: it is not of that form.
    """
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {override!r} is not of the form dotted.key=value, e.g. training.epochs=100")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override!r}: the value is not valid YAML") from None
    *sections, last = key.split(".")
    if (sections or [last])[0] == "reference_points":  # so often changed that its section may be left out
        sections.insert(0, "model")
    place = content
    for section in sections:
        below = place.get(section)
        if below is None:
            below = place[section] = {}
        if not isinstance(below, dict):
            raise ConfigError(f"--set {override!r}: {section} is a value, not a section")
        place = below
    place[last] = value
    part = content.get("model")
    if isinstance(part, dict) and isinstance(part.get("reference_points"), str):
        part["reference_points"] = {"name": part["reference_points"]}
    if isinstance(part, dict) and isinstance(part.get("descriptor"), dict):
        part["descriptor"].setdefault("name", "ace")
    if isinstance(part, dict) and isinstance(part.get("readout"), dict):
        part["readout"].setdefault("name", "mlp")


def _explain(error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        where = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            top = len(problem["loc"]) == 1
            section: Any = Config if top else Config.model_fields[str(problem["loc"][0])].annotation
            names = section.model_fields
            problems.append(
                f"there is no setting {where}; there are {', '.join(names)}{guess(problem['loc'][-1], names)}"
            )
        else:
            problems.append(f"{where} is {json.dumps(problem['input'], default=str)}: {problem['msg'].lower()}")
    return "; ".join(problems)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value
