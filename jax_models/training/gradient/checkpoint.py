"""The state of an unfinished training in one file: arrays as safetensors, the rest as JSON in their header."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as format_safetensors

from jax_models.errors import TrainingError
from jax_models.model_file import write_atomically


def save_checkpoint(path: str | os.PathLike, identity: str, arrays: Any, facts: dict[str, Any]) -> None:
    """Write ``arrays`` (a pytree) and ``facts`` (JSON); an older checkpoint is replaced only by a complete one.

    Args:
        identity: tells which training this is; `load_checkpoint` asks for the same.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(arrays)
    named = {jax.tree_util.keystr(tree_path): np.asarray(leaf, order="C") for tree_path, leaf in leaves}
    write_atomically(path, format_safetensors(named, {"identity": identity, "facts": json.dumps(facts)}))


def load_checkpoint(path: str | os.PathLike, identity: str, skeleton: Any) -> tuple[Any, dict[str, Any]] | None:
    """The arrays, in ``skeleton``'s structure, and the facts of the checkpoint at ``path``; None if there is none.

    Raises:
        TrainingError: it cannot be read, or belongs to other data or settings.
    """
    if not Path(path).exists():
        return None
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"the checkpoint {path} cannot be read ({error}); remove it to start again") from None
    if metadata.get("identity") != identity:
        raise TrainingError(
            f"the checkpoint {path} belongs to a training with other data or settings. Remove it to start again, "
            "or repeat the interrupted command to resume"
        )
    leaves, structure = jax.tree_util.tree_flatten_with_path(skeleton)
    filled = [arrays[jax.tree_util.keystr(tree_path)] for tree_path, _ in leaves]
    return jax.tree_util.tree_unflatten(structure, filled), json.loads(metadata["facts"])
