"""Readouts: features -> energy of a centre. One file each, one registry line below."""

from jax_models.readouts.linear import Linear
from jax_models.readouts.mlp import MLP

READOUTS = {"linear": Linear, "mlp": MLP}
