"""Descriptors: environment -> invariant features. One file each, one registry line below."""

from jax_models.descriptors.ace import ACE
from jax_models.descriptors.chebyshev import Chebyshev

DESCRIPTORS = {"ace": ACE, "chebyshev": Chebyshev}
