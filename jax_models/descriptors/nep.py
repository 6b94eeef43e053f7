"""The descriptor of neuroevolution potentials (Fan et al., J. Chem. Phys. 157, 114801, 2022; names as in GPUMD).

Radial functions g_n(r) = sum_k c_nk f_k(r) differ for each pair of elements. Their sums over neighbours are the radial
features; sums with harmonics, squared or multiplied, are the angular ones, which may see less far.
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.basis.angular import real_coupling, spherical_harmonics
from jax_models.basis.contraction import mix_channels, sum_neighbors
from jax_models.basis.cutoff import cosine_cutoff
from jax_models.basis.directions import distances_and_directions
from jax_models.basis.radial import chebyshev
from jax_models.basis.species import element_masks, pair_values, select_element
from jax_models.descriptors.ace import coupled_triple
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood

PRODUCTS = ("222", "1111", "112", "123", "233", "134")
"""The degrees of the densities multiplied beyond pairs of them, in the order of GPUMD's features."""


class NEP(eqx.Module):
    """Features [N, F]: n_max[0] + 1 radial ones, then n_max[1] + 1 for each l and each product.

    Args:
        elements: number of elements.
        cutoff: Å; the largest distance that is seen.
        radial_cutoff, angular_cutoff: Å; None: ``cutoff``.
        n_max: highest index of the radial and of the angular functions g_n.
        basis_size: highest index of the functions f_k that each are made of.
        l_max: highest degree of the harmonics, 0 to 8.
        products: from `PRODUCTS`, in its order.
        pairwise_cutoffs: keep cutoffs for each pair of elements among the parameters; they begin as the two above.
        key: seeds the coefficients c_nk.

    Raises:
        ConfigError: a setting is outside its range.
    """

    radial_weights: Float[Array, "S S Nr Kr"]
    """c_nk, by the centre's element and the neighbour's."""
    angular_weights: Float[Array, "S S Na Ka"]
    pair_cutoffs: Float[Array, "2 S S"] | None
    """Å; radial and angular, not trained. None: the same for all pairs."""
    radial_cutoff: float = eqx.field(static=True)
    angular_cutoff: float = eqx.field(static=True)
    l_max: int = eqx.field(static=True)
    products: tuple[str, ...] = eqx.field(static=True)

    defaults: ClassVar[dict] = {
        "radial_cutoff": None,
        "angular_cutoff": None,
        "n_max": (4, 4),
        "basis_size": (8, 8),
        "l_max": 4,
        "products": ("222",),
        "pairwise_cutoffs": False,
    }

    def __init__(
        self,
        elements: int,
        cutoff: float,
        *,
        radial_cutoff: float | None = None,
        angular_cutoff: float | None = None,
        n_max: tuple[int, int] = (4, 4),
        basis_size: tuple[int, int] = (8, 8),
        l_max: int = 4,
        products: tuple[str, ...] = ("222",),
        pairwise_cutoffs: bool = False,
        key: Array,
    ):
        self.radial_cutoff = cutoff if radial_cutoff is None else radial_cutoff
        self.angular_cutoff = cutoff if angular_cutoff is None else angular_cutoff
        self.l_max, self.products = l_max, tuple(products)
        if not (0 < self.radial_cutoff <= cutoff and 0 < self.angular_cutoff <= cutoff):
            raise ConfigError(
                f"nep: radial_cutoff is {self.radial_cutoff} Å and angular_cutoff {self.angular_cutoff} Å; both must "
                f"be positive and at most the cutoff of {cutoff} Å"
            )
        for name, values, high in (("n_max", n_max, 64), ("basis_size", basis_size, 64), ("l_max", (l_max,), 8)):
            if len(values) != (1 if name == "l_max" else 2) or not all(0 <= value <= high for value in values):
                raise ConfigError(f"nep: {name} is {values}; it must be between 0 and {high}")
        for product in self.products:
            if product not in PRODUCTS or max(map(int, product)) > l_max:
                raise ConfigError(
                    f"nep: product {product!r} is none of {', '.join(PRODUCTS)} with degrees up to l_max = {l_max}"
                )
        sizes = [(n + 1, k + 1) for n, k in zip(n_max, basis_size, strict=True)]
        self.radial_weights, self.angular_weights = (
            jax.random.normal(k, (elements, elements, *size)) / np.sqrt(size[1])
            for k, size in zip(jax.random.split(key), sizes, strict=True)
        )
        both = jnp.asarray([self.radial_cutoff, self.angular_cutoff])
        self.pair_cutoffs = jnp.tile(both[:, None, None], (1, elements, elements)) if pairwise_cutoffs else None

    @property
    def n_features(self) -> int:
        return self.radial_weights.shape[2] + (self.l_max + len(self.products)) * self.angular_weights.shape[2]

    def only(self, rows: tuple[int, ...]) -> NEP:
        """The same descriptor for some of its elements, by their places."""
        pairs = np.ix_(rows, rows)
        model = eqx.tree_at(
            lambda m: (m.radial_weights, m.angular_weights),
            self,
            (self.radial_weights[pairs], self.angular_weights[pairs]),
        )
        if self.pair_cutoffs is None:
            return model
        return eqx.tree_at(lambda m: m.pair_cutoffs, model, self.pair_cutoffs[:, *pairs])

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, "N F"]:
        r, direction = distances_and_directions(neighborhood)
        radial = self._functions(0, neighborhood, r, self.radial_weights.shape[-1])
        sums = jnp.stack([jnp.sum(f, axis=1) for f in radial])
        features = [self._own(mix_channels(_by_center(self.radial_weights, r.dtype), sums[None]), neighborhood)[0]]
        if self.l_max:
            a = self._density_coefficients(neighborhood, r, direction)
            for degree in range(1, self.l_max + 1):
                own = a[degree**2 - 1 : (degree + 1) ** 2 - 1]
                features.append((2 * degree + 1) / (4 * np.pi) * jnp.sum(jnp.square(jnp.stack(own)), axis=0))
            features += [_product(product, [None, *a]) for product in self.products]
        return jax.lax.optimization_barrier(jnp.concatenate(features)).T

    def _functions(self, which: int, neighborhood: Neighborhood, r: Float[Array, "N K"], n: int) -> list:
        """f_k of each neighbour, for each element: a list over (element, k) of [N, K]."""
        cutoff: Any
        if self.pair_cutoffs is None:
            cutoff = (self.radial_cutoff, self.angular_cutoff)[which]
        else:
            cutoff = pair_values(jax.lax.stop_gradient(self.pair_cutoffs[which]), neighborhood, r.dtype)
        envelope = jnp.where(neighborhood.mask, 0.5 * cosine_cutoff(r, cutoff), 0.0)
        u = jnp.minimum(r * (1.0 / cutoff), 1.0) - 1.0
        functions = [value + envelope for value in chebyshev(2.0 * u * u - 1.0, n, envelope)]
        n_elements = self.radial_weights.shape[0]
        if n_elements == 1:
            return functions
        kinds = element_masks(neighborhood.neighbor_species, n_elements, r.dtype)
        return [kind * value for kind in kinds for value in functions]

    def _density_coefficients(self, neighborhood: Neighborhood, r, direction) -> list[Float[Array, "C N"]]:
        """Sum over neighbours of g_n Y_lm: a list over (l, m) from l = 1."""
        functions = self._functions(1, neighborhood, r, self.angular_weights.shape[-1])
        x, y, z = direction
        harmonics = spherical_harmonics(x, y, z, self.l_max)[1:]
        # Atoms last from here: the elementwise work then runs over contiguous memory.
        density = sum_neighbors(jnp.stack(functions, 1), jnp.stack(harmonics, 1)).transpose(2, 1, 0)
        weights = _by_center(self.angular_weights, r.dtype)
        own = self._own(mix_channels(jnp.tile(weights, (len(harmonics), 1, 1)), density), neighborhood)
        return [m.squeeze(0) for m in jnp.split(own, len(harmonics))]

    def _own(self, mixed: Float[Array, "M SC N"], neighborhood: Neighborhood) -> Float[Array, "M C N"]:
        """Of the channels for a centre of each element, those of the centre's own."""
        n_elements = self.radial_weights.shape[0]
        per_element = mixed.reshape(mixed.shape[0], n_elements, -1, mixed.shape[-1])
        return select_element(per_element.swapaxes(0, 1), neighborhood.species)


def _by_center(weights: Float[Array, "S S C K"], dtype) -> Float[Array, "1 SC SK"]:
    """One matrix: channels of a centre of each element from functions of neighbours of each element."""
    s, _, c, k = weights.shape
    return weights.astype(dtype).transpose(0, 2, 1, 3).reshape(1, s * c, s * k)


def _product(degrees: str, a: list) -> Float[Array, "C N"]:
    """The invariant of GPUMD: densities with unnormalised harmonics Y_lm, coupled by a 3j symbol."""
    if degrees == "1111":
        square = sum(c * c for c in a[1:4])
        return 7.0 / 15.0 * (3.0 / (4.0 * np.pi)) ** 2 * square * square
    l1, l2, l3 = map(int, degrees)
    scale = np.sqrt(np.prod([(2 * degree + 1) / (4 * np.pi) for degree in (l1, l2, l3)]))
    # The 3j symbol of m = 0 has the sign (-1)^((l1 + l2 + l3) / 2); ours has another phase.
    sign = (-1.0) ** ((l1 + l2 + l3) // 2) * np.sign(real_coupling(l1, l2, l3)[l1, l2, l3])
    return float(sign * scale) * coupled_triple(a, l1, l2, l3)
