"""Descriptors: environment -> invariant features. One file each, one registry line below."""

from jax_models.descriptors.ace import ACE

DESCRIPTORS = {"ace": ACE}
