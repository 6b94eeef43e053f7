"""Descriptors: environment -> invariant features. One file each, one registry line below."""

from typing import Any

from jax_models.descriptors.ace import ACE
from jax_models.descriptors.acsf import ACSF
from jax_models.descriptors.chebyshev import Chebyshev
from jax_models.descriptors.gmp import GMP
from jax_models.descriptors.mbtr import MBTR
from jax_models.descriptors.nep import NEP
from jax_models.descriptors.power_spectrum import PowerSpectrum
from jax_models.descriptors.scattering import Scattering
from jax_models.descriptors.scattering_local import LocalScattering
from jax_models.descriptors.soap import SOAP

DESCRIPTORS: dict[str, Any] = {
    "ace": ACE, "acsf": ACSF, "chebyshev": Chebyshev, "gmp": GMP, "mbtr": MBTR, "nep": NEP,
    "power_spectrum": PowerSpectrum, "scattering": LocalScattering, "soap": SOAP,
}  # fmt: skip
WHOLE_CELL: dict[str, Any] = {"scattering": Scattering}
"""Descriptors of whole cells, for models without a cutoff; see `jax_models.whole_cell`."""
