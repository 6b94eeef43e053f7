"""Compute types: what "single" and "double" mean, and a model's parameters in one of them."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jax_models.errors import ConfigError


def compute_type(precision: str) -> type:
    """NumPy's type for "single" or "double".

    Raises:
        ConfigError: another word.
    """
    if precision not in ("single", "double"):
        raise ConfigError(f"precision is {precision!r}; it must be single or double")
    return np.float32 if precision == "single" else np.float64


def model_in(model: eqx.Module, dtype: Any) -> Any:
    """The model with its parameters cast to ``dtype``."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype) if eqx.is_inexact_array(leaf) else leaf, model)
