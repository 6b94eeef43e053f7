"""Smooth overlap of atomic positions: the power spectrum of the neighbour density (Bartók, Kondor, Csányi, PRB 87,
184115).

Conventions, parameter names and the order of the features are DScribe's (Himanen et al., Comput. Phys. Commun. 247,
106949), so that the numbers are equal.
"""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.basis.angular import spherical_harmonics
from jax_models.basis.contraction import mix_channels, sum_neighbors
from jax_models.basis.directions import distances_and_directions
from jax_models.basis.radial import chebyshev
from jax_models.basis.species import element_masks
from jax_models.descriptors.soap_basis import radial_series, reach
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood
from jax_models.reference_points.grid import coarsest_for_gaussians

COMPRESSIONS = ("off", "mu2", "mu1nu1", "crossover")
WEIGHTINGS = {"poly": ("c", "m", "r0"), "pow": ("c", "d", "m", "r0"), "exp": ("c", "d", "r0")}


class SOAP(eqx.Module):
    """Features [N, F] p[z, z', l, n, n'] = pi sqrt(8/(2l+1)) sum_m c[z, n, l, m] c[z', n', l, m].

    Features run over pairs of elements z <= z' (in the order of the potential's list; DScribe sorts by atomic number),
    then l, n, n'; n' starts at n where z = z'. The centre's own density counts where the centre is an atom; a
    centre whose species is -1 has none.

    Args:
        elements: number of elements.
        cutoff: Å; neighbours further away do not exist.
        r_cut: Å, the extent of the radial basis. None: ``cutoff``, and neighbours fade out towards it by the
            weighting ``{"function": "poly", "c": 1, "m": 2, "r0": cutoff}``, so that forces and their derivatives are
            continuous. A number: DScribe's own use, in which atoms count beyond r_cut, with full weight (or that of
            ``weighting``), as far as their Gaussian reaches in; then ``cutoff`` is r_cut + 3.717 sigma.
        n_max: number of radial functions.
        l_max: highest degree of the harmonics, 0 to 12.
        sigma: width of the atoms' Gaussians in Å.
        rbf: "gto" or "polynomial".
        weighting: None, or DScribe's dictionary: "function" ("poly", "pow" or "exp") with its c, d, m, r0, and "w0".
        compression: "off", "mu2" (one density of all elements), "mu1nu1" (each element with their sum) or
            "crossover" (no pairs of different elements); Darby, Kermode, Csányi, npj Comput. Mater. 8, 166.

    Raises:
        ConfigError: a setting is outside its range.

    Example:
        >>> SOAP(1, 5.0, n_max=8, l_max=4).n_features
        180
    """

    elements: int = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    n_max: int = eqx.field(static=True)
    l_max: int = eqx.field(static=True)
    compression: str = eqx.field(static=True)
    weighting: tuple[tuple[str, Any], ...] = eqx.field(static=True)
    basis: tuple = eqx.field(static=True)

    defaults: ClassVar[dict] = {
        "r_cut": None, "n_max": 8, "l_max": 4, "sigma": 0.5, "rbf": "gto", "weighting": None, "compression": "off",
    }  # fmt: skip

    counts_center: ClassVar[bool] = True

    def __init__(
        self,
        elements: int,
        cutoff: float,
        *,
        r_cut: float | None = None,
        n_max: int = 8,
        l_max: int = 4,
        sigma: float = 0.5,
        rbf: str = "gto",
        weighting: dict[str, Any] | None = None,
        compression: str = "off",
        key: Array | None = None,
    ):
        for name, value, low, high in (("n_max", n_max, 1, 30), ("l_max", l_max, 0, 12)):
            if not (isinstance(value, int) and low <= value <= high):
                raise ConfigError(f"soap: {name} is {value}; it must be a whole number between {low} and {high}")
        if not (isinstance(sigma, int | float) and sigma > 0):
            raise ConfigError(f"soap: sigma is {sigma}; it must be a positive width in Å")
        for name, chosen, allowed in (("rbf", rbf, ("gto", "polynomial")), ("compression", compression, COMPRESSIONS)):
            if chosen not in allowed:
                raise ConfigError(f"soap: {name} is {chosen!r}; choose from {', '.join(allowed)}")
        extent = cutoff if r_cut is None else r_cut
        if not extent > (1.0 if rbf == "gto" else 0.0):
            raise ConfigError(f"soap: r_cut is {extent}; with rbf {rbf} it must be above {1 if rbf == 'gto' else 0} Å")
        if weighting is None:
            weighting = {"function": "poly", "c": 1.0, "m": 2.0, "r0": cutoff} if r_cut is None else {}
        self.weighting = _checked_weighting(weighting, cutoff)
        if r_cut is not None and cutoff < (needed := self.neighbor_cutoff(r_cut, sigma=sigma)) - 1e-9:
            raise ConfigError(
                f"soap: with r_cut {r_cut} and sigma {sigma}, atoms count up to {needed:.4g} Å, but the cutoff "
                f"is {cutoff}; "
                f"raise the cutoff, or leave r_cut out for a basis that ends smoothly at the cutoff"
            )
        self.elements, self.cutoff, self.n_max, self.l_max, self.compression = (
            elements,
            float(cutoff),
            n_max,
            l_max,
            compression,
        )
        self.basis = (rbf, float(extent), n_max, l_max, float(sigma), float(cutoff))
        radial_series(*self.basis)  # an impossible basis is found here, not at the first evaluation

    @staticmethod
    def neighbor_cutoff(r_cut: float, *, sigma: float) -> float:
        """How far neighbours are needed (Å) for DScribe's features of ``r_cut``."""
        return float(reach(r_cut, sigma))

    @staticmethod
    def reference_settings(r_cut: float, settings: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        """Cutoff and settings that give DScribe's features, its defaults included (there sigma is 1)."""
        settings = {"sigma": 1.0, **settings, "r_cut": r_cut}
        sigma = settings["sigma"]
        return (
            SOAP.neighbor_cutoff(r_cut, sigma=sigma) if isinstance(sigma, int | float) and sigma > 0 else r_cut
        ), settings

    @property
    def largest_spacing(self) -> float:
        """Å between the points of a grid that still sample products of two of the atoms' Gaussians."""
        return coarsest_for_gaussians(np.array([self.basis[4] / np.sqrt(2.0)]), np.ones(1))

    @property
    def n_features(self) -> int:
        n, rows = self.n_max, self.n_max * self.elements
        pairs = {
            "off": rows * (rows + 1) // 2,
            "mu2": n * (n + 1) // 2,
            "mu1nu1": rows * n,
            "crossover": self.elements * n * (n + 1) // 2,
        }
        return pairs[self.compression] * (self.l_max + 1)

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, "N F"]:
        left = self._coefficients(neighborhood)
        rows = left.shape[1]
        right = left
        if self.compression == "mu1nu1":
            right = jnp.sum(left.reshape(len(left), self.elements, self.n_max, -1), axis=1)
        # Of orthonormal harmonics the factor is pi sqrt(8/(2l+1)); (2l+1)/(4 pi) stands in the radial series.
        spectra = []
        for degree in range(self.l_max + 1):
            m = slice(degree**2, (degree + 1) ** 2)
            spectra.append(
                jnp.pi * (8.0 / (2 * degree + 1)) ** 0.5 * jnp.sum(left[m, :, None] * right[m, None, :], axis=0)
            )
        products = jnp.stack(spectra).reshape((self.l_max + 1) * rows * right.shape[1], -1)
        # One array: without the barrier XLA computes each product again for whatever uses it.
        layout = (self.elements if self.compression != "mu2" else 1, self.n_max, self.l_max, self.compression)
        return jax.lax.optimization_barrier(_select(products, layout)).T

    def _coefficients(self, neighborhood: Neighborhood) -> Float[Array, "LM A N"]:
        """c[l m, (z, n)] of every centre; z is left out where elements are not told apart."""
        r, direction = distances_and_directions(neighborhood)
        dtype = r.dtype
        weight = jnp.where(neighborhood.mask, self._weight(r), 0.0)
        series = radial_series(*self.basis)
        radial = chebyshev(jnp.minimum(r * (2.0 / self.cutoff), 2.0) - 1.0, series.shape[-1], weight)
        apart = self.elements if self.compression != "mu2" else 1
        if apart > 1:
            kinds = element_masks(neighborhood.neighbor_species, apart, dtype)
            radial = [kind * value for kind in kinds for value in radial]
        harmonics = spherical_harmonics(*direction, self.l_max)
        stacks = jax.lax.optimization_barrier((jnp.stack(radial, 1), jnp.stack(harmonics, 1)))
        density = sum_neighbors(*stacks)
        density = density.reshape(len(r) * apart, -1, density.shape[-1]).transpose(2, 1, 0)
        degree = np.repeat(np.arange(self.l_max + 1), 2 * np.arange(self.l_max + 1) + 1)
        mixed = mix_channels(jnp.asarray(series[degree], dtype), density)
        mixed = jnp.moveaxis(mixed.reshape(len(degree), self.n_max, len(r), apart), 3, 1).reshape(
            len(degree), apart * self.n_max, -1
        )
        own = jnp.asarray(series[0] @ np.cos(np.pi * np.arange(series.shape[-1])), dtype) * dict(self.weighting).get(
            "w0", self._weight(0.0)
        )
        present = (
            neighborhood.species[None] == np.arange(apart)[:, None] if apart > 1 else neighborhood.species[None] >= 0
        )
        self_density = (present[:, None].astype(dtype) * own[:, None]).reshape(1, apart * self.n_max, -1)
        return jnp.concatenate([mixed[:1] + self_density, mixed[1:]])

    def _weight(self, r):
        """DScribe's weighting function of the distance."""
        settings = dict(self.weighting)
        function = settings.get("function")
        if function is None:
            return r * 0.0 + 1.0
        c, d, m, scaled = settings["c"], settings.get("d"), settings.get("m"), r * (1.0 / settings["r0"])
        if function == "poly":
            scaled = jnp.minimum(scaled, 1.0)
            return c * (1.0 + (2.0 * scaled - 3.0) * scaled * scaled) ** m
        return c / (d + (scaled**m if function == "pow" else jnp.exp(-scaled)))


def _checked_weighting(weighting: dict[str, Any], cutoff: float) -> tuple[tuple[str, Any], ...]:
    function = weighting.get("function")
    if function is not None and function not in WEIGHTINGS:
        raise ConfigError(f"soap: weighting function is {function!r}; choose from {', '.join(WEIGHTINGS)}")
    needed = () if function is None else WEIGHTINGS[function]
    for name in needed:
        if not (isinstance(weighting.get(name), int | float) and weighting[name] >= 0) or (
            name == "r0" and weighting[name] == 0
        ):
            raise ConfigError(
                f"soap: weighting {function} needs {', '.join(needed)}, each a number not below 0 (r0 above); "
                f"{name} is {weighting.get(name)}"
            )
    unknown = set(weighting) - {"function", "w0", "threshold", *needed}
    if unknown or not weighting.get("w0", 1.0) >= 0:
        raise ConfigError(
            f"soap: weighting may have function, w0 (0 or more) and {', '.join(needed)}; given {dict(weighting)}"
        )
    return tuple(sorted((k, v if k == "function" else float(v)) for k, v in weighting.items() if k != "threshold"))


@functools.cache
def _selection(elements: int, n_max: int, l_max: int, compression: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the flattened products [l, a, b] that are features, and for each row its feature (or one past the
    last)."""
    rows = elements * n_max
    columns = n_max if compression == "mu1nu1" else rows
    wanted = []
    for z in range(elements):
        for other in range(z, elements) if compression == "off" else [z]:
            for degree in range(l_max + 1):
                for n in range(n_max):
                    if compression == "mu1nu1":
                        pairs = [(z * n_max + n, k) for k in range(n_max)]
                    else:
                        pairs = [(z * n_max + n, other * n_max + k) for k in range(n if other == z else 0, n_max)]
                    wanted += [(degree * rows + a) * columns + b for a, b in pairs]
    # int32: tracing is cached by JAX, and 64-bit indices do not fit between double and single precision.
    index = np.array(wanted, np.int32)
    inverse = np.full((l_max + 1) * rows * columns, len(index), np.int32)
    inverse[index] = np.arange(len(index), dtype=np.int32)
    return index, inverse


# The transpose of a selection of rows is a scatter, which is slow; here each of the two is a gather, and the other's
# transpose.
@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _select(products: Float[Array, "P N"], layout: tuple) -> Float[Array, "F N"]:
    return products[_selection(*layout)[0]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _spread(features: Float[Array, "F N"], layout: tuple) -> Float[Array, "P N"]:
    return jnp.concatenate([features, jnp.zeros_like(features[:1])])[_selection(*layout)[1]]


_select.defvjp(lambda products, layout: (_select(products, layout), None), lambda layout, _, g: (_spread(g, layout),))
_spread.defvjp(lambda features, layout: (_spread(features, layout), None), lambda layout, _, g: (_select(g, layout),))
