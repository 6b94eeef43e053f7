"""Learned representations: networks whose layers read the features of neighbouring atoms. One file each, one registry line below."""

from jax_models.message_passing.painn import PaiNN
from jax_models.message_passing.schnet import SchNet

MESSAGE_PASSING = {"painn": PaiNN, "schnet": SchNet}
