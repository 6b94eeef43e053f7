"""Learned representations: networks whose layers read the features of neighbouring atoms. One file each, one registry
line below."""

from typing import Any

from jax_models.message_passing.mace import MACE
from jax_models.message_passing.nequip import NequIP
from jax_models.message_passing.painn import PaiNN
from jax_models.message_passing.schnet import SchNet
from jax_models.message_passing.tensornet import TensorNet

MESSAGE_PASSING: dict[str, Any] = {
    "mace": MACE,
    "nequip": NequIP,
    "painn": PaiNN,
    "schnet": SchNet,
    "tensornet": TensorNet,
}
