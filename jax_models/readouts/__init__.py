"""Readouts: features -> energy of a centre. One file each, one registry line below."""

from typing import Any

from jax_models.readouts.linear import Linear
from jax_models.readouts.mlp import MLP

READOUTS: dict[str, Any] = {"linear": Linear, "mlp": MLP}
