"""Potentials that others trained, as a `Potential`: one file here a kind of file, one line in the table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jax_models.errors import ConfigError, ModelFileError
from jax_models.imports import mace, nep, nequix, pace, sevennet, tensornet
from jax_models.imports.importer import HEAD, Importer
from jax_models.potential import Potential

IMPORTERS: tuple[Importer, ...] = (
    mace.IMPORTER,
    nep.IMPORTER,
    nequix.IMPORTER,
    pace.IMPORTER,
    sevennet.IMPORTER,
    tensornet.IMPORTER,
)


def potential_from_file(path: str | os.PathLike, **options: Any) -> Potential:
    """The potential in a file of any kind that is known here.

    Args:
        path: the file.
        options: what this kind of file needs said, e.g. ``head`` or ``avg_num_neighbors``; None: not said.

    Raises:
        ModelFileError: the file cannot be read, is of no known kind, or cannot be converted exactly.
        ConfigError: an option that this kind of file does not have.

    Example:
        >>> potential_from_file("mace.safetensors").save("mace.jaxff")  # doctest: +SKIP
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from None
    found = next((importer for importer in IMPORTERS if importer.recognises(path, head)), None)
    if found is None:
        known = ", ".join(importer.name for importer in IMPORTERS)
        raise ModelFileError(f"{path} is none of the files that can be imported: {known}")
    given = {name: value for name, value in options.items() if value is not None}
    unknown = sorted(set(given) - set(found.options))
    if unknown:
        raise ConfigError(f"{path} is a file of {found.name}, which has no option {', '.join(unknown)}")
    return found.read(path, **given)
