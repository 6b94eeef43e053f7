"""How much the structures of a file, or of a config_type, count in training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from jax_models.errors import ConfigError
from jax_models.training.data.structures import Structure
from jaxff.spelling import guess


def weighted(structures: Sequence[Structure], files: Sequence[Path], weights: Mapping[str, float]) -> list[Structure]:
    """``structures`` with the product of the weights of their file and their config_type.

    Args:
        files: the one that each structure was read from.
        weights: by path or name of a file, or by config_type.

    Raises:
        ConfigError: a name that is neither a file nor a config_type, or that is several.

    Example:
        >>> weighted([], [], {})
        []
    """
    result = list(structures)
    for name, weight in weights.items():
        chosen = _meant(name, structures, files)
        result = [dataclasses.replace(s, weight=s.weight * weight) if n in chosen else s for n, s in enumerate(result)]
    return result


def _meant(name: str, structures: Sequence[Structure], files: Sequence[Path]) -> set[int]:
    paths = {path for path in files if path == Path(name)} or {path for path in files if path.name == name}
    if len(paths) > 1:
        raise ConfigError(f"data.weights: {name} may be {' or '.join(sorted(map(str, paths)))}; give the path")
    of_kind = {n for n, s in enumerate(structures) if s.group and s.group == name}
    if paths and of_kind:
        raise ConfigError(f"data.weights: {name} is a file and a config_type; rename one, or give the file's path")
    if not paths and not of_kind:
        groups = sorted({s.group for s in structures} - {""})
        names = [*dict.fromkeys(path.name for path in files), *groups]
        raise ConfigError(
            f"data.weights names {name}, which is no file and no config_type of the training data; there are "
            f"{', '.join(names)}{guess(name, names)}"
        )
    return of_kind or {n for n, path in enumerate(files) if path in paths}
