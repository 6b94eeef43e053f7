"""PACE: the atomic cluster expansion as pacemaker fits it and LAMMPS's pair_style pace evaluates it.

Densities A[mu, n, l, m] of an atom, products of them summed to a few densities rho_p, an embedding function of each,
and a repulsion of cores that takes over where atoms come close (Lysogorskiy et al., npj Comput. Mater. 7, 97, 2021).
"""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax_models.basis.angular import spherical_harmonics
from jax_models.basis.contraction import mix_channels, sum_neighbors
from jax_models.basis.directions import distances_and_directions
from jax_models.basis.species import element_masks, pair_values, select_element
from jax_models.cluster_expansion.embedding import EMBEDDINGS
from jax_models.cluster_expansion.radial_bases import RADIAL_BASES, core_repulsion, inner_switch
from jax_models.cluster_expansion.row_gather import take_rows
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood

CHUNK = 64
"""Atoms whose products are made at a time, so that they stay in the processor's cache."""
INNER = ("density", "distance")


class PACE(eqx.Module):
    """Energy of each centre, eV. Its parameters come from a file (`jax_models.imports.pace`); here they are zero.

    Args:
        elements: chemical symbols.
        cutoff: Å; the largest of the bonds'.
        radial: names from `RADIAL_BASES`, of the bases that occur.
        embedding: names from `EMBEDDINGS`, for each element.
        n_base, n_radial, l_max: functions of the radial basis, radial functions, highest degree.
        densities: p, of the atom.
        products: how many products of two, three, ... densities there are.
        inner: "distance", where the repulsion takes over between two distances, or "density", where it does by the
            repulsion itself.

    Raises:
        ConfigError: an unknown name.
    """

    radial_weights: Float[Array, "LM S S Nr K"]
    """A's radial functions of the basis, by the degree's l, the centre's element and the neighbour's."""
    bonds: dict[str, Float[Array, "S S"]]
    basis_of_bond: Float[Array, "B S S"]
    """1 where a bond has this radial basis."""
    pair_coefficients: Float[Array, "SP SK"]
    """rho of the sums over neighbours of the radial basis itself."""
    coefficients: list[Float[Array, "SP T"]]
    """rho of the products, level by level; densities come first."""
    parents: list[Int[Array, " T"]]
    factors: list[Int[Array, " T"]]
    embedding_weights: Float[Array, "S P"]
    exponents: Float[Array, "S P"]
    embedding_of: Float[Array, "E S"]
    """1 where an element has this embedding function."""
    core: Float[Array, "2 S"]
    """eV: where the repulsion has taken over, and over which width."""
    radial: tuple[str, ...] = eqx.field(static=True)
    embedding: tuple[str, ...] = eqx.field(static=True)
    n_base: int = eqx.field(static=True)
    n_radial: int = eqx.field(static=True)
    l_max: int = eqx.field(static=True)
    densities: int = eqx.field(static=True)
    inner: str = eqx.field(static=True)

    kind: ClassVar[str] = "local"
    n_layers: ClassVar[int] = 1
    priors: ClassVar[tuple] = ()
    defaults: ClassVar[dict] = {
        "radial": (),
        "embedding": (),
        "n_base": 8,
        "n_radial": 4,
        "l_max": 3,
        "densities": 1,
        "products": (),
        "inner": "density",
    }
    BOND: ClassVar[tuple[str, ...]] = ("cutoff", "dcut", "lam", "inner", "inner_width", "prefactor", "decay")

    def __init__(
        self,
        elements: tuple[str, ...],
        cutoff: float,
        *,
        radial: tuple[str, ...],
        embedding: tuple[str, ...],
        n_base: int,
        n_radial: int,
        l_max: int,
        densities: int,
        products: tuple[int, ...],
        inner: str,
    ):
        for kind, names, known in (
            ("radial basis", radial, RADIAL_BASES),
            ("embedding function", embedding, EMBEDDINGS),
            ("inner cutoff", (inner,), INNER),
        ):
            if unknown := [name for name in names if name not in known]:
                raise ConfigError(f"pace: unknown {kind} {', '.join(unknown)}; there are {', '.join(known)}")
        self.radial, self.embedding, self.inner = tuple(radial), tuple(embedding), inner
        self.n_base, self.n_radial, self.l_max, self.densities = n_base, n_radial, l_max, densities
        s = len(elements)
        sizes = (s * n_radial * (l_max + 1) ** 2, *products)
        self.radial_weights = jnp.zeros((l_max + 1, s, s, n_radial, n_base))
        self.bonds = {name: jnp.ones((s, s)) for name in self.BOND}
        self.basis_of_bond = jnp.ones((len(radial), s, s))
        self.pair_coefficients = jnp.zeros((s * densities, s * n_base))
        self.coefficients = [jnp.zeros((s * densities, size)) for size in sizes]
        self.parents = [jnp.zeros(size, jnp.int32) for size in products]
        self.factors = [jnp.zeros(size, jnp.int32) for size in products]
        self.embedding_weights, self.exponents = jnp.zeros((s, densities)), jnp.ones((s, densities))
        self.embedding_of = jnp.ones((len(embedding), s))
        self.core = jnp.ones((2, s))

    @property
    def centers(self) -> str:
        return "atoms"

    def energies(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        rho, repulsion = self.embedded_densities(neighborhood)
        own = lambda table: select_element(table[..., None], neighborhood.species)  # noqa: E731
        exponents, weights = own(self.exponents), own(self.embedding_weights)
        energy = sum(
            jnp.sum(weights * EMBEDDINGS[name](rho, exponents), axis=0) * own(self.embedding_of[e])
            for e, name in enumerate(self.embedding)
        )
        end, width = own(self.core[0]), own(self.core[1])
        return energy * inner_switch(repulsion, end, width) + repulsion

    def embedded_densities(self, neighborhood: Neighborhood) -> tuple[Float[Array, "P N"], Float[Array, " N"]]:
        """rho_p of each centre, and the repulsion of its core (eV)."""
        r, direction = distances_and_directions(neighborhood)
        bond = {name: pair_values(table, neighborhood, r.dtype) for name, table in self.bonds.items()}
        seen = neighborhood.mask & (r < bond["cutoff"])
        # What lies beyond a bond's cutoff is moved inside: masked, it must be finite with its derivative.
        r = jnp.where(seen, r, 0.5 * bond["cutoff"])
        repulsion = core_repulsion(r, bond["cutoff"], bond["prefactor"], bond["decay"])
        base = self._radial_base(neighborhood, r, bond)
        if self.inner == "distance":
            switch = inner_switch(r, bond["inner"], bond["inner_width"])
            repulsion = repulsion * switch
            base = [value * (1.0 - switch) for value in base]
        repulsion = jnp.sum(jnp.where(seen, repulsion, 0.0), axis=1)
        kinds = element_masks(neighborhood.neighbor_species, len(self.core[0]), r.dtype)
        functions = jnp.stack([jnp.where(seen, kind * value, 0.0) for kind in kinds for value in base], axis=1)
        pairs = jnp.sum(functions, axis=2).T
        a = self._densities(functions, direction, neighborhood)
        rho = self.pair_coefficients.astype(r.dtype) @ pairs + self._products(a)
        return select_element(rho.reshape(len(kinds), self.densities, -1), neighborhood.species), repulsion

    def _radial_base(self, neighborhood: Neighborhood, r, bond) -> list[Float[Array, "N K"]]:
        """The radial basis of each neighbour's bond."""
        base: list[Any] = [0.0] * self.n_base
        for which, name in enumerate(self.radial):
            values = RADIAL_BASES[name](r, bond["cutoff"], bond["dcut"], bond["lam"], self.n_base)
            own = pair_values(self.basis_of_bond[which], neighborhood, r.dtype)
            base = [total + own * value for total, value in zip(base, values, strict=True)]
        # Below the inner cutoff there is the repulsion alone.
        inside = r > bond["inner"] - bond["inner_width"]
        return [jnp.where(inside, value, 0.0) for value in base]

    def _densities(self, functions: Float[Array, "N SK K"], direction, neighborhood) -> Float[Array, "A N"]:
        """A of each centre, in the order of `real_products.Terms`."""
        x, y, z = direction
        harmonics = jnp.stack(spherical_harmonics(x, y, z, self.l_max), axis=1)
        s, n_lm = len(self.core[0]), (self.l_max + 1) ** 2
        density = sum_neighbors(functions, harmonics).transpose(2, 1, 0)
        density = density.reshape(n_lm * s, self.n_base, -1)
        degree = np.repeat(np.arange(self.l_max + 1), 2 * np.arange(self.l_max + 1) + 1)
        weights = self.radial_weights.astype(functions.dtype)[degree].transpose(0, 2, 1, 3, 4)
        mixed = mix_channels(weights.reshape(n_lm * s, s * self.n_radial, self.n_base), density)
        per_center = mixed.reshape(n_lm, s, s, self.n_radial, -1).transpose(2, 1, 3, 0, 4)
        return select_element(per_center, neighborhood.species).reshape(s * self.n_radial * n_lm, -1)

    def _products(self, a: Float[Array, "A N"]) -> Float[Array, "SP N"]:
        """The sums of products of densities."""
        n_chunks = a.shape[1] // CHUNK
        if n_chunks > 1 and a.shape[1] % CHUNK == 0:
            chunks = jnp.moveaxis(a.reshape(a.shape[0], n_chunks, CHUNK), 1, 0)
            return jnp.moveaxis(jax.lax.map(self._chunk_products, chunks), 0, 1).reshape(-1, a.shape[1])
        return self._chunk_products(a)

    def _chunk_products(self, a: Float[Array, "A N"]) -> Float[Array, "SP N"]:
        level, rho = a, self.coefficients[0].astype(a.dtype) @ a
        for parent, factor, coefficients in zip(self.parents, self.factors, self.coefficients[1:], strict=True):
            level = take_rows(level, parent) * take_rows(a, factor)
            rho = rho + coefficients.astype(a.dtype) @ level
        return rho
