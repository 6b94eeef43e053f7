"""Learned representations: networks whose layers read the features of neighbouring atoms. One file each, one registry
line below."""

from jax_models.message_passing.mace import MACE
from jax_models.message_passing.painn import PaiNN
from jax_models.message_passing.schnet import SchNet

MESSAGE_PASSING = {"mace": MACE, "painn": PaiNN, "schnet": SchNet}
