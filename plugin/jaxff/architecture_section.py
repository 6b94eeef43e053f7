"""The section ``model`` of a configuration against the registries: names and settings as they are spelled there, and
their JSON schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jax_models.errors import ConfigError
from jaxff.spelling import guess, spelled

TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", tuple: "array", list: "array", dict: "object"}


BY_PAIR = {"anyOf": [{"type": "number"}, {"type": "object"}, {"type": "null"}]}
"""One value for all pairs of elements, or one for each."""


def canonical(section: dict[str, Any]) -> dict[str, Any]:
    """``section`` with every name as its registry has it.

    Raises:
        ConfigError: a name or setting that no registry knows; the text has those that it does, and a guess.
    """
    from jax_models.descriptors import DESCRIPTORS, WHOLE_CELL
    from jax_models.message_passing import MESSAGE_PASSING
    from jax_models.priors import PRIORS
    from jax_models.readouts import READOUTS
    from jax_models.reference_points import REFERENCE_POINTS

    section = dict(section)
    if section.get("name") is not None:
        given = {key: value for key, value in section.items() if key == "name" or key not in OWN}
        section |= _part("architecture", "model", given, MESSAGE_PASSING)
        foreign = [key for key in ("descriptor", "readout", "reference_points") if section.get(key) is not None]
        if foreign:
            raise ConfigError(f"model.name is {section['name']}, which has no {foreign[0]}; leave out one of the two")
    else:
        unknown = [key for key in section if key not in OWN]
        if unknown:
            raise ConfigError(
                f"there is no setting model.{unknown[0]}; there are {', '.join(OWN)}{guess(unknown[0], OWN)}"
            )
    whole = DESCRIPTORS if section.get("reference_points") is not None else {**DESCRIPTORS, **WHOLE_CELL}
    if section.get("descriptor") is not None:
        section["descriptor"] = _part("descriptor", "model.descriptor", section["descriptor"], whole, "ace")
    if section.get("readout") is not None:
        section["readout"] = _part("readout", "model.readout", section["readout"], READOUTS, "mlp")
    points = section.get("reference_points")
    if points is not None:
        given = {"name": points} if isinstance(points, str) else points
        found = _part("reference points", "model.reference_points", given, REFERENCE_POINTS)
        section["reference_points"] = found["name"] if isinstance(points, str) else found
    if isinstance(section.get("priors"), list):
        section["priors"] = [_part("prior", "model.priors", prior, PRIORS) for prior in section["priors"]]
    return section


OWN = ("cutoff", "name", "descriptor", "reference_points", "readout", "priors")
"""Keys of the section that are not settings of a message-passing architecture."""


def _part(kind: str, where: str, given: Any, registry: Mapping[str, Any], default: str | None = None) -> Any:
    """One entry, its name and settings checked; what is not a mapping is left to the type check."""
    if not isinstance(given, dict):
        return given
    given = {"name": default, **given} if default is not None else given
    name = spelled(given.get("name"), registry)
    if name is None:
        raise ConfigError(
            f"{where}.name: unknown {kind} {given.get('name')!r}; choose from {', '.join(sorted(registry))}"
            f"{guess(given.get('name'), registry)}"
        )
    allowed = registry[name].defaults
    wrong = next((key for key in given if key != "name" and key not in allowed), None)
    if wrong is not None:
        raise ConfigError(
            f"{where}.{wrong}: {kind} {name} has no setting {wrong}; it has {', '.join(sorted(allowed)) or 'none'}"
            f"{guess(wrong, allowed)}"
        )
    return {**given, "name": name}


def model_name(model: str) -> dict[str, Any]:
    """The section that ``--model`` stands for.

    Raises:
        ConfigError: there is no such model.
    """
    from jax_models.descriptors import DESCRIPTORS, WHOLE_CELL
    from jax_models.message_passing import MESSAGE_PASSING

    descriptor, network = spelled(model, {*DESCRIPTORS, *WHOLE_CELL}), spelled(model, MESSAGE_PASSING)
    if descriptor is not None:
        return {"descriptor": {"name": descriptor}}
    if network is not None:
        return {"name": network}
    names = sorted({*DESCRIPTORS, *WHOLE_CELL, *MESSAGE_PASSING})
    raise ConfigError(f"there is no model {model!r}; choose from {', '.join(names)}{guess(model, names)}")


def schema_of_model(section: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of the section, with every descriptor, network, readout and prior and their settings.

    Args:
        section: the schema of the keys alone.
    """
    from jax_models.descriptors import DESCRIPTORS, WHOLE_CELL
    from jax_models.message_passing import MESSAGE_PASSING
    from jax_models.priors import PRIORS
    from jax_models.readouts import READOUTS
    from jax_models.reference_points import REFERENCE_POINTS

    keys = {key: section["properties"][key] for key in OWN}
    described = {key: {k: keys[key][k] for k in ("description", "default") if k in keys[key]} for key in OWN}
    # A descriptor of whole cells may have another of the same name that looks from points.
    descriptors = [
        entry
        for registry in (DESCRIPTORS, WHOLE_CELL)
        for entry in _entries({name: kind.defaults for name, kind in registry.items()}, "ace")
    ]
    points = {name: kind.defaults for name, kind in REFERENCE_POINTS.items()}
    readouts = {name: kind.defaults for name, kind in READOUTS.items()}
    priors = [_entry(name, kind.defaults, dict.fromkeys(kind.by_pair, BY_PAIR)) for name, kind in PRIORS.items()]
    null = {"type": "null"}
    common = {
        "cutoff": keys["cutoff"],
        "priors": described["priors"] | {"anyOf": [{"type": "array", "items": {"anyOf": priors}}, null]},
    }
    local = {
        **common,
        "name": described["name"] | null,
        "descriptor": described["descriptor"] | {"anyOf": [*descriptors, null]},
        "reference_points": described["reference_points"]
        | {"anyOf": [{"enum": sorted(points)}, *_entries(points), null]},
        "readout": described["readout"] | {"anyOf": [*_entries(readouts, "mlp"), null]},
    }
    networks = [
        _entry(name, kind.defaults, common | dict.fromkeys(("descriptor", "reference_points", "readout"), null))
        for name, kind in sorted(MESSAGE_PASSING.items())
    ]
    return {
        "title": section["title"],
        "description": section["description"],
        "anyOf": [
            {"title": "descriptor and readout", "type": "object", "additionalProperties": False, "properties": local},
            *networks,
        ],
    }


def _entries(kinds: Mapping[str, Mapping[str, Any]], default: str | None = None) -> list[dict[str, Any]]:
    return [_entry(name, settings, required=name != default) for name, settings in sorted(kinds.items())]


def _entry(
    name: str, defaults: Mapping[str, Any], more: Mapping[str, Any] | None = None, required: bool = True
) -> dict[str, Any]:
    """An object of this name with these settings and no others."""
    settings = {key: _setting(value) for key, value in defaults.items()}
    return {
        "title": name,
        "type": "object",
        "properties": {"name": {"const": name}, **settings, **(more or {})},
        "required": ["name"] if required else [],
        "additionalProperties": False,
    }


def _setting(default: Any) -> dict[str, Any]:
    """A setting by its default; None says nothing of the type."""
    if default is None:
        return {"default": None}
    return {"type": TYPES[type(default)], "default": list(default) if isinstance(default, tuple) else default}
