"""Learned representations: networks whose layers read the features of neighbouring atoms. One file each, one registry
line below."""

from typing import Any

from jax_models.message_passing.mace import MACE
from jax_models.message_passing.nequip import NequIP
from jax_models.message_passing.painn import PaiNN
from jax_models.message_passing.schnet import SchNet
from jax_models.message_passing.tensornet import TensorNet

<<<<<<< HEAD
MESSAGE_PASSING: dict[str, Any] = {"mace": MACE, "nequip": NequIP, "painn": PaiNN, "schnet": SchNet}
=======
MESSAGE_PASSING: dict[str, Any] = {"mace": MACE, "painn": PaiNN, "schnet": SchNet, "tensornet": TensorNet}
>>>>>>> d8361a2 (TensorNet as an architecture of message_passing, and its import from matgl)
