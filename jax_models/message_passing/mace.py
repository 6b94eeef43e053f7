"""MACE: spherical-tensor messages of higher body order (Batatia et al., NeurIPS 2022; names as in mace-torch).

The blocks are mace-torch's RealAgnostic(Density)(Residual)InteractionBlock, EquivariantProductBasisBlock and the linear
and non-linear readouts, with e3nn's normalisation: weights are of unit size, and divided by the root of their fan-in.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax_models.basis.angular import spherical_harmonics
from jax_models.basis.species import pair_values
from jax_models.elements import COVALENT_RADII
from jax_models.errors import ConfigError
from jax_models.interfaces import Prior
from jax_models.message_passing.convolution import convolve, pairings
from jax_models.message_passing.edges import bessel, distances, envelope
from jax_models.message_passing.network import MessagePassing, check_range
from jax_models.message_passing.product_basis import ProductBasis, own_weights
from jax_models.neighborhood import Neighborhood

AGNESI = (1.0805, 0.9183, 4.5791)
"""a, q, p of mace-torch."""
SILU_SCALE = 1.6791767923989418
"""e3nn scales an activation so that its second moment under a normal distribution is 1."""


RESIDUAL = "RealAgnosticResidualInteractionBlock"
INTERACTIONS = (
    RESIDUAL,
    "RealAgnosticInteractionBlock",
    "RealAgnosticDensityInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
)
"""A residual block adds the atom's own features, through weights of its element; the others apply such weights to the
message, and are for the first layer. A density block divides by a sum over neighbours, not by their mean number."""
TRANSFORMS = ("None", "Agnesi")


def scaled_silu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return SILU_SCALE * jax.nn.silu(x)


def linear(x: Float[Array, "*n In"], weights: Float[Array, "In Out"]) -> Float[Array, "*n Out"]:
    """e3nn's linear layer of one degree."""
    return x @ (weights * (1.0 / np.sqrt(weights.shape[0])))


def linear_by_degree(x: Float[Array, "N M C"], weights: list[Float[Array, "C Out"]]) -> Float[Array, "N M Out"]:
    """A linear layer for each l; the components (l, m) are the middle axis."""
    return jnp.concatenate([linear(x[:, ell**2 : (ell + 1) ** 2], w) for ell, w in enumerate(weights)], axis=1)


class Layer(eqx.Module):
    """One interaction and its product: degrees up to ``l_in`` in, up to ``l_out`` out."""

    linear_up: list[Float[Array, "C C"]]
    radial_mlp: list[Float[Array, "In Out"]]
    linear: list[Float[Array, "PC C"]]
    skip: list[Float[Array, "S C C"]]
    product: ProductBasis
    linear_out: list[Float[Array, "C C"]]
    density_weights: Float[Array, "In 1"] | None
    """Of blocks that divide by a density."""
    residual: bool = eqx.field(static=True)
    l_in: int = eqx.field(static=True)
    l_out: int = eqx.field(static=True)
    max_ell: int = eqx.field(static=True)

    def __init__(
        self,
        elements: int,
        channels: int,
        l_in: int,
        l_out: int,
        max_ell: int,
        correlation: int,
        radial: tuple[int, ...],
        interaction: str,
        *,
        key: Array,
    ):
        self.residual = "Residual" in interaction
        self.l_in, self.l_out, self.max_ell = l_in, l_out, max_ell
        keys = iter(jax.random.split(key, 64))
        normal = lambda *shape: jax.random.normal(next(keys), shape)  # noqa: E731
        self.linear_up = [normal(channels, channels) for _ in range(l_in + 1)]
        widths = [*radial, len(self.paths) * channels]
        self.radial_mlp = [normal(i, o) for i, o in itertools.pairwise(widths)]
        into = [sum(l3 == ell for _, _, l3 in self.paths) for ell in range(max_ell + 1)]
        self.linear = [normal(n * channels, channels) for n in into]
        by_element = min(l_in, l_out) if self.residual else max_ell
        self.skip = [normal(elements, channels, channels) for _ in range(by_element + 1)]
        self.product = ProductBasis(elements, channels, max_ell, l_out, correlation, key=next(keys))
        self.linear_out = [normal(channels, channels) for _ in range(l_out + 1)]
        self.density_weights = normal(radial[0], 1) if "Density" in interaction else None

    @property
    def paths(self) -> list[tuple[int, int, int]]:
        """(l of the neighbour's feature, l of the harmonic, l of the result), all of natural parity, sorted by the
        result."""
        degrees = itertools.product(range(self.max_ell + 1), range(self.l_in + 1), range(self.max_ell + 1))
        return [(l1, l2, l3) for l3, l1, l2 in degrees if abs(l1 - l2) <= l3 <= l1 + l2 and (l1 + l2 + l3) % 2 == 0]

    def radial(self, basis: Float[Array, "N K R"]) -> Float[Array, "N K PC"]:
        """Radial functions of the paths, in the order of `convolve`; of a density block, what a neighbour adds to the
        density comes last."""
        if self.density_weights is not None:
            neighbors = jnp.tanh(linear(basis, self.density_weights) ** 2)
            return jnp.concatenate([self._path_functions(basis), neighbors], axis=-1)
        return self._path_functions(basis)

    def _path_functions(self, basis: Float[Array, "N K R"]) -> Float[Array, "N K PC"]:
        for weights in self.radial_mlp[:-1]:
            basis = scaled_silu(linear(basis, weights))
        paired = [(l1, l2, l3) for l1, l2, results in pairings(self.l_in, self.max_ell) for l3 in results]
        last = self.radial_mlp[-1].reshape(basis.shape[-1], len(paired), -1)
        return linear(basis, last[:, [self.paths.index(path) for path in paired]].reshape(basis.shape[-1], -1))

    def density(
        self, radial: Float[Array, "N K PC"], harmonics: list[Float[Array, "N M K"]], received: Float[Array, "N K M C"]
    ) -> Float[Array, "N Y C"]:
        """Sum over neighbours of radial function x harmonic x the neighbour's feature, coupled to every l and mixed."""
        sums = convolve(radial, harmonics, received)
        return jnp.concatenate([linear(summed, w) for summed, w in zip(sums, self.linear, strict=True)], axis=1)

    def __call__(
        self, density: Float[Array, "N Y C"], species: Int[Array, " N"], own: Float[Array, "N M C"]
    ) -> Float[Array, "N M2 C"]:
        if not self.residual:
            return linear_by_degree(self.product(self._by_element(density, species), species), self.linear_out)
        features = linear_by_degree(self.product(density, species), self.linear_out)
        unskipped = features.shape[1] - len(self.skip) ** 2
        return features + jnp.pad(self._by_element(own, species), ((0, 0), (0, unskipped), (0, 0)))

    def _by_element(self, x: Float[Array, "N M C"], species: Int[Array, " N"]) -> Float[Array, "N M2 C"]:
        """A linear layer for each l and each element, of the degrees that ``skip`` has."""
        scale = 1.0 / np.sqrt(x.shape[-1] * self.skip[0].shape[0])
        mixed = [
            jnp.einsum("nmc,ncd->nmd", x[:, ell**2 : (ell + 1) ** 2], own_weights(w * scale, species))
            if w.shape[0] > 1
            else x[:, ell**2 : (ell + 1) ** 2] @ (w[0] * scale)
            for ell, w in enumerate(self.skip)
        ]
        return jnp.concatenate(mixed, axis=1)


class MACE(MessagePassing):
    """Equivariant features of each atom; each layer multiplies neighbour densities up to ``correlation`` times.

    Args:
        elements: chemical symbols.
        cutoff: Å (r_max).
        hidden_irreps: features between layers, as many channels for each l = 0, 1, ...: "64x0e", "64x0e + 64x1o".
        num_interactions: layers.
        correlation: densities multiplied in a layer, 1 to 4; body order is one more.
        max_ell: highest degree of the harmonics.
        num_radial_basis: Bessel functions of the distance.
        num_cutoff_basis: power p of the polynomial cutoff.
        radial_MLP: hidden layers of the radial network.
        MLP_irreps: hidden layer of the last readout, "16x0e".
        interaction_first, interaction: from `INTERACTIONS`, of the first layer and of the others.
        distance_transform: "Agnesi" puts a smooth function of r and the two covalent radii into the radial basis.
        priors: physics added to the network.
        key: seeds the weights.

    Raises:
        ConfigError: a setting is outside its range.
    """

    node_embedding: Float[Array, "S C"]
    layers: list[Layer]
    readouts: list[Float[Array, "C Out"]]
    last_readout: Float[Array, " Out"]
    agnesi: Float[Array, " 3"] | None
    """a, q, p of the transform."""
    bond_lengths: Float[Array, "S S"] | None
    """Å; half the sum of two covalent radii, of the transform."""
    num_radial_basis: int = eqx.field(static=True)
    num_cutoff_basis: int = eqx.field(static=True)

    defaults: ClassVar[dict] = {
        "hidden_irreps": "32x0e",
        "num_interactions": 2,
        "correlation": 3,
        "max_ell": 3,
        "num_radial_basis": 8,
        "num_cutoff_basis": 5,
        "radial_MLP": (64, 64, 64),
        "MLP_irreps": "16x0e",
        "interaction_first": RESIDUAL,
        "interaction": RESIDUAL,
        "distance_transform": "None",
    }

    def __init__(
        self,
        elements: tuple[str, ...],
        cutoff: float,
        *,
        hidden_irreps: str = "32x0e",
        num_interactions: int = 2,
        correlation: int = 3,
        max_ell: int = 3,
        num_radial_basis: int = 8,
        num_cutoff_basis: int = 5,
        radial_MLP: tuple[int, ...] = (64, 64, 64),
        MLP_irreps: str = "16x0e",
        interaction_first: str = RESIDUAL,
        interaction: str = RESIDUAL,
        distance_transform: str = "None",
        priors: Sequence[Prior] = (),
        key: Array,
    ):
        channels, l_hidden = parse_irreps("hidden_irreps", hidden_irreps)
        readout_width, l_readout = parse_irreps("MLP_irreps", MLP_irreps)
        check_range(
            "mace",
            num_interactions=(num_interactions, 1, 8),
            correlation=(correlation, 1, 4),
            max_ell=(max_ell, 0, 4),
            num_radial_basis=(num_radial_basis, 1, 64),
            num_cutoff_basis=(num_cutoff_basis, 2, 12),
        )
        if l_hidden > max_ell or l_readout > 0:
            raise ConfigError(
                f"mace: hidden_irreps {hidden_irreps!r} must not go beyond l = max_ell = {max_ell}, nor "
                "MLP_irreps beyond 0e"
            )
        if interaction_first not in INTERACTIONS or interaction not in [i for i in INTERACTIONS if "Residual" in i]:
            raise ConfigError(
                f"mace: interaction_first {interaction_first!r} and interaction {interaction!r} must be from "
                f"{', '.join(INTERACTIONS)}; residual beyond the first layer"
            )
        if distance_transform not in TRANSFORMS:
            raise ConfigError(f"mace: distance_transform {distance_transform!r} must be {' or '.join(TRANSFORMS)}")
        if not radial_MLP or min(radial_MLP) < 1:
            raise ConfigError(f"mace: radial_MLP is {list(radial_MLP)}; it must list one or more positive layer widths")
        keys = jax.random.split(key, num_interactions + 3)
        n, last = len(elements), num_interactions - 1
        self.node_embedding = jax.random.normal(keys[0], (n, channels))
        self.layers = [
            Layer(
                n,
                channels,
                l_hidden if t else 0,
                0 if t == last else l_hidden,
                max_ell,
                correlation,
                (num_radial_basis, *radial_MLP),
                interaction if t else interaction_first,
                key=keys[t + 3],
            )
            for t in range(num_interactions)
        ]
        widths = [1] * last + [readout_width]
        self.readouts = [
            jax.random.normal(k, (channels, w))
            for k, w in zip(jax.random.split(keys[1], num_interactions), widths, strict=True)
        ]
        self.last_readout = jax.random.normal(keys[2], (readout_width, 1))
        self.cutoff, self.num_radial_basis, self.num_cutoff_basis = cutoff, num_radial_basis, num_cutoff_basis
        self.energy_scale, self.neighbors_per_atom, self.priors = jnp.ones(()), jnp.asarray(20.0), list(priors)
        self.radial_tables, self.agnesi, self.bond_lengths = None, None, None
        if distance_transform == "Agnesi":
            radii = [COVALENT_RADII[element] for element in elements]
            self.agnesi, self.bond_lengths = jnp.asarray(AGNESI), 0.5 * jnp.asarray(np.add.outer(radii, radii))

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    def head(self) -> tuple[list[Array], Array]:
        """The readouts of all layers but the last, and the last matrix: each ends in one number."""
        return self.readouts[:-1], self.last_readout

    def only(self, rows: tuple[int, ...]) -> MACE:
        """The same network for some of its elements, by their places."""
        chosen = np.asarray(rows)
        # e3nn's normalisation counts the elements.
        scale = np.sqrt(len(rows) / self.node_embedding.shape[0])
        per_element = lambda m: jax.tree.leaves([layer.product.weights for layer in m.layers])  # noqa: E731
        scaled = lambda m: [m.node_embedding, *jax.tree.leaves([layer.skip for layer in m.layers])]  # noqa: E731
        model = eqx.tree_at(per_element, self, [w[chosen] for w in per_element(self)])
        model = eqx.tree_at(scaled, model, [w[chosen] * scale for w in scaled(self)])
        if self.bond_lengths is not None:
            model = eqx.tree_at(lambda m: m.bond_lengths, model, self.bond_lengths[np.ix_(chosen, chosen)])
        return eqx.tree_at(lambda m: m.priors, model, [prior.only(rows) for prior in self.priors])

    def features(self, own: Float[Array, "N M C"]) -> Float[Array, "N C"]:
        return own[:, 0]

    def radial_functions(self, t: int, r: Float[Array, "*n"]) -> Float[Array, "*n PC"]:
        return self._radial_functions(t, r, r)

    def _radial_functions(self, t: int, r: Float[Array, "*n"], x: Float[Array, "*n"]) -> Float[Array, "*n PC"]:
        """Of distances r, and what the radial basis sees of them."""
        fcut = np.sqrt(2.0 / self.cutoff) * envelope(r, self.cutoff, "polynomial", self.num_cutoff_basis)
        return self.layers[t].radial(bessel(x, self.num_radial_basis, self.cutoff) * fcut[..., None])

    def _transformed(self, neighborhood: Neighborhood, r: Float[Array, "N K"]) -> Float[Array, "N K"]:
        """Distances by bond lengths, between 1 and 0 (Witt et al., J. Chem. Phys. 159, 164101, 2023)."""
        transform: Any = jax.lax.stop_gradient((self.agnesi, self.bond_lengths))
        (a, q, p), lengths = transform
        s = r / pair_values(lengths, neighborhood, r.dtype)
        return 1.0 / (1.0 + a * s**q / (1.0 + s ** (q - p)))

    def tabulated(self) -> MessagePassing:
        """As `MessagePassing.tabulated`; functions that differ for each pair of elements stay as they are."""
        return self if self.agnesi is not None else super().tabulated()

    def first_layer(self, neighborhood: Neighborhood):
        table = (self.node_embedding * (1.0 / np.sqrt(self.node_embedding.shape[0])))[:, None]
        received = self.message(0, table)[neighborhood.neighbor_species]
        return self.layer(0, neighborhood, table[neighborhood.species], received)

    def message(self, t: int, own: Float[Array, "N M C"]) -> Float[Array, "N MC"]:
        return linear_by_degree(own, self.layers[t].linear_up).reshape(own.shape[0], -1)

    def layer(self, t, neighborhood, own, received):
        r = distances(neighborhood)
        layer, channels = self.layers[t], own.shape[-1]
        # e3nn's harmonics have their polar axis along y.
        unit = neighborhood.vectors / r[..., None]
        values = spherical_harmonics(unit[..., 2], unit[..., 0], unit[..., 1], layer.max_ell)
        harmonics = [
            np.sqrt(2 * ell + 1) * jnp.stack(values[ell**2 : (ell + 1) ** 2], axis=1)
            for ell in range(layer.max_ell + 1)
        ]
        if self.agnesi is None:
            radial = self.radial(t, r, neighborhood.mask)
        else:
            radial = self._radial_functions(t, r, self._transformed(neighborhood, r))
            radial = jnp.where(neighborhood.mask[..., None], radial, 0.0)
        neighbors = jax.lax.stop_gradient(self.neighbors_per_atom)
        if layer.density_weights is not None:
            neighbors = 1.0 + jnp.sum(radial[..., -1], axis=1)[:, None, None]
            radial = radial[..., :-1]
        density = layer.density(radial, harmonics, received.reshape(*r.shape, -1, channels))
        own = layer(density / neighbors, neighborhood.species, own)
        output = linear(own[:, 0], self.readouts[t])
        if t == self.n_layers - 1:
            output = linear(scaled_silu(output), self.last_readout)
        return own, output[:, 0]


def parse_irreps(setting: str, text: str) -> tuple[int, int]:
    """Channels and highest l of irreps with one number of channels and natural parity, as "64x0e + 64x1o".

    Raises:
        ConfigError: anything else.
    """
    pieces = str(text).split("+")
    parts = [part for piece in pieces if (part := re.fullmatch(r"(\d+)x(\d+)([eo])", piece.strip()))]
    if len(parts) == len(pieces):
        found = [(int(p[1]), int(p[2]), p[3]) for p in parts]
        channels = found[0][0]
        if channels > 0 and found == [(channels, ell, "eo"[ell % 2]) for ell in range(len(found))]:
            return channels, len(found) - 1
    raise ConfigError(
        f"mace: {setting} is {text!r}; it must give one number of channels for l = 0, 1, ... in turn, such as "
        "64x0e or 64x0e + 64x1o"
    )
