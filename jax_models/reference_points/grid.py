"""Environments seen from the points of a real-space grid (Lei et al., arXiv 2310.18552).

The energy is the integral of an energy density, E = sum_p w [e(features at p) - e(no atoms)], w the volume of a grid
cell. A point belongs to no atom, so engines make the rows of the Neighborhood: one for each point that sees an atom
(`jax_models.reference_points.grid_list`), and multiply what the model returns by w.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood

DEFAULT_PART = 0.16
"""Of the cutoff: 0.8 Å for 5 Å, some 40 points an atom of silicon."""
COARSEST_PART = 0.4
ALIAS = 0.05
"""Largest share of a Gaussian's integral that may change as it moves across the grid."""


class Grid(eqx.Module):
    """Points k_1 a_1/n_1 + k_2 a_2/n_2 + k_3 a_3/n_3 of any cell, at most ``spacing`` apart along each cell vector.

    Args:
        cutoff: Å; how far atoms are seen from a point.
        spacing: Å; the coarser of 0.16 cutoff and what the descriptor allows if not given.

    Raises:
        ConfigError: spacing is not above 0 and at most 0.4 cutoff.

    Example:
        >>> Grid(5.0, spacing=0.7).descriptor_cutoff
        5.0
    """

    given: float | None = eqx.field(static=True)
    descriptor_cutoff: float = eqx.field(static=True)

    defaults: ClassVar[dict] = {"spacing": None}
    centers: ClassVar[str] = "grid"

    def __init__(self, cutoff: float, *, spacing: float | None = None):
        most = COARSEST_PART * cutoff
        number = isinstance(spacing, int | float) and not isinstance(spacing, bool)
        if spacing is not None and not (number and 0 < spacing <= most):
            raise ConfigError(
                f"grid: spacing is {spacing}; it must be above 0 and at most {COARSEST_PART} of the cutoff, "
                f"{most:.4g} Å"
            )
        self.given = None if spacing is None else float(spacing)
        self.descriptor_cutoff = float(cutoff)

    def spacing_for(self, descriptor: Any) -> float:
        """Å: as given, or the default that suits ``descriptor``.

        Raises:
            ConfigError: the grid is too coarse for the descriptor's Gaussians (its ``largest_spacing``).
        """
        largest = getattr(descriptor, "largest_spacing", COARSEST_PART * self.descriptor_cutoff)
        if self.given is None:
            return min(DEFAULT_PART * self.descriptor_cutoff, largest)
        if self.given > largest:
            raise ConfigError(
                f"grid: spacing is {self.given}, too coarse for the descriptor's Gaussians; it must be above 0 "
                "and at most "
                f"{largest:.4g} Å, or choose wider Gaussians"
            )
        return self.given

    def over_points(
        self, neighborhood: Neighborhood, function: Callable[[Neighborhood, Float[Array, " N"]], Float[Array, "N *F"]]
    ) -> Float[Array, "N *F"]:
        """``function(environments, weights)`` of the rows, which are the points already, of weight 1."""
        n = len(neighborhood.species)
        here = neighborhood._replace(species=jnp.full(n, -1, jnp.int32))
        return function(here, jnp.ones(n, neighborhood.vectors.dtype))


def coarsest_for_gaussians(widths: Float[np.ndarray, " G"], shares: Float[np.ndarray, " G"]) -> float:
    """The spacing (Å) at which sampling sum_g shares_g (normalised Gaussian of width_g) aliases by `ALIAS`.

    By Poisson's sum, the integral on a grid of spacing h is wrong by at most the Fourier transform at 2 pi/h.

    Example:
        >>> round(coarsest_for_gaussians(np.array([0.5]), np.array([1.0])), 2)
        1.28
    """
    spacings = np.geomspace(0.02, 20.0, 1000)
    wave = 2 * np.pi / spacings[:, None]
    alias = np.abs(np.exp(-0.5 * (wave * widths) ** 2) @ shares) / abs(np.sum(shares))
    too_coarse = np.flatnonzero(alias > ALIAS)
    return float(spacings[max(too_coarse[0] - 1, 0)]) if len(too_coarse) else float(spacings[-1])
