"""First-order wavelet scattering seen from points: the integrand of `jax_models.descriptors.scattering`'s first order.

Summed over the points of a grid with their weights, these features are the whole cell's. A model on them needs only the
atoms near each point, so it runs on many ranks.
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.basis.angular import spherical_harmonics
from jax_models.basis.contraction import sum_neighbors
from jax_models.basis.directions import distances_and_directions
from jax_models.descriptors.scattering import Scattering
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood

FADING = 0.85
"""Of the cutoff, from which on atoms fade out; scales are chosen so that wavelets are small from there on."""


class LocalScattering(eqx.Module):
    """Features [N, F] of points: for each scale, shell, channel and power, (s + e)^(q/2) - e^(q/2) as in `Scattering`.

    Args:
        elements: chemical symbols.
        cutoff: Å.
        n_scales: None: as many as fit, their wavelets down to ``tolerance`` of the peak at 0.85 of the cutoff.
        others: as for `Scattering`, whose first order this is.

    Raises:
        ConfigError: a setting is outside its range, or the widest scale reaches beyond the cutoff.

    Example:
        >>> LocalScattering(("Si",), 5.0).wavelets.scales
        (0.5, 1.0)
    """

    wavelets: Scattering
    cutoff: float = eqx.field(static=True)
    largest_spacing: float = eqx.field(static=True)
    """Å between the points of a grid: up to here it holds the waves of the narrowest scale."""

    defaults: ClassVar[dict] = {k: v for k, v in Scattering.defaults.items() if k not in ("orders", "pairs")} | {
        "n_scales": None
    }
    by_symbol: ClassVar[bool] = True
    counts_center: ClassVar[bool] = True

    def __init__(self, elements: tuple[str, ...], cutoff: float, *, key: Array | None = None, **settings: Any):
        s = self.defaults | settings
        one = Scattering(elements, **{**s, "n_scales": 1, "orders": (1,)})
        reach = max(shell.reach(s["tolerance"]) for shell in one.shells)
        fitting = int(np.floor(np.log(FADING * cutoff / (reach * s["beta_0"])) / np.log(s["ratio"]) + 1e-9)) + 1
        wanted = s["n_scales"] if s["n_scales"] is not None else max(fitting, 1)
        if isinstance(wanted, int) and wanted > fitting:
            least = reach * s["beta_0"] * s["ratio"] ** (wanted - 1) / FADING
            raise ConfigError(
                f"scattering: at points, {wanted} scale{'s' if wanted > 1 else ''} from beta_0 {s['beta_0']} Å "
                "need a cutoff of "
                f"{least:.4g} Å, but it is {cutoff:g}; raise model.cutoff, lower beta_0, ratio, n_scales or "
                "n_max, or raise tolerance"
            )
        self.wavelets = Scattering(elements, **{**s, "n_scales": wanted, "orders": (1,)})
        self.cutoff = float(cutoff)
        self.largest_spacing = 2.0 * self.wavelets.spacing

    @property
    def n_features(self) -> int:
        return self.wavelets.n_features

    @property
    def feature_names(self) -> list[dict[str, Any]]:
        """See `Scattering.feature_names`."""
        return self.wavelets.feature_names

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, "N F"]:
        r, direction = distances_and_directions(neighborhood)
        dtype, s = r.dtype, self.wavelets
        table = jnp.asarray(s.weights, dtype)
        weights = jnp.where(neighborhood.mask, table[:, neighborhood.neighbor_species] * self._fading(r), 0.0)
        center = jnp.where(neighborhood.species >= 0, table[:, neighborhood.species], 0.0)
        harmonics = jnp.stack(spherical_harmonics(*direction, max(shell.l for shell in s.shells)), axis=1)
        features = []
        for beta in s.scales:
            x = r / beta
            radial = [_radial(shell, x) / beta**3 for shell in s.shells]
            stack = jnp.stack([w * value for w in weights for value in radial], axis=1)
            moments = sum_neighbors(stack, harmonics).reshape(len(r), len(weights), len(s.shells), -1)
            here = jnp.asarray([shell.radial(np.zeros(1))[0] / beta**3 for shell in s.shells], dtype)
            squares = []
            for p, shell in enumerate(s.shells):
                wave = moments[:, :, p, shell.l**2 : (shell.l + 1) ** 2]
                squares.append(
                    jnp.sum((wave + (center.T * here[p])[..., None]) ** 2 if shell.l == 0 else wave**2, axis=2)
                )
            e = jnp.asarray(s.rounding(beta).T ** 2, dtype)[..., None]
            exponents = 0.5 * jnp.asarray(s.powers, dtype)
            powers = jnp.exp(exponents * jnp.log(jnp.stack(squares, axis=1)[..., None] + e)) - e**exponents
            features.append(powers.reshape(len(r), -1))
        return jnp.concatenate(features, axis=1)

    def _fading(self, r: Float[Array, "N K"]) -> Float[Array, "N K"]:
        """1, then to 0 at the cutoff with two continuous derivatives."""
        t = jnp.clip((r / self.cutoff - FADING) / (1 - FADING), 0.0, 1.0)
        return 1 - t**3 * (10 - 15 * t + 6 * t * t)


def _radial(shell: Any, x: Float[Array, "N K"]) -> Float[Array, "N K"]:
    square = x * x
    value = shell.amplitude * (2 * np.pi) ** -1.5 * jnp.exp(-0.5 * square) * x**shell.l
    return value * sum(c * square**i for i, c in enumerate(shell.polynomial))
