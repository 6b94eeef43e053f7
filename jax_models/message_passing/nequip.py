"""NequIP: features of each degree with channels of their own, convolved channel by channel and gated
(Batzner et al., Nature Communications 13, 2453, 2022); with settings that make it Nequix and SevenNet.

Weights are what they multiply with: no normalisation of a file format remains in them, so that imports divide once.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax_models.basis.angular import spherical_harmonics
from jax_models.errors import ConfigError
from jax_models.interfaces import Prior
from jax_models.message_passing.convolution import Pairing, convolve_degrees
from jax_models.message_passing.edges import distances, envelope, xplor
from jax_models.message_passing.mace import SILU_SCALE
from jax_models.message_passing.network import MessagePassing, check_range
from jax_models.neighborhood import Neighborhood

SELF_CONNECTIONS = ("species", "linear")
EPSILON = 1e-12
"""Added to the square of the size that a layer normalisation divides by."""

Features = list[Float[Array, "N M C"]]
"""For each degree l = 0, 1, ... its 2 l + 1 components and its channels."""


class Layer(eqx.Module):
    """One convolution, its self-connection and its gate: ``channels_in`` of each degree in, ``channels_out`` out."""

    linear_up: list[Float[Array, "C C"]]
    """Of the features that are sent. The first layer has none, its messages stand in a table."""
    radial_mlp: list[Float[Array, "In Out"]]
    linear: list[Float[Array, "PC Out"]]
    """From the channels of all paths to the features before the gate."""
    self_connection: list[Float[Array, "S C Out"]]
    """Of the atom's own features; a single row where species share it. Of the first layer [S, Out], as a table."""
    norm: list[Float[Array, " Out"]] | None
    channels_in: tuple[int, ...] = eqx.field(static=True)
    channels_out: tuple[int, ...] = eqx.field(static=True)
    paired: tuple[Pairing, ...] = eqx.field(static=True)

    def __init__(
        self,
        elements: int,
        channels_in: tuple[int, ...],
        channels_out: tuple[int, ...],
        paired: tuple[Pairing, ...],
        radial: tuple[int, ...],
        *,
        first: bool,
        species: bool,
        norm: bool,
        key: Array,
    ):
        self.channels_in, self.channels_out, self.paired = channels_in, channels_out, paired
        keys = iter(jax.random.split(key, 64))

        def normal(n_in: int, *shape: int, gain: float = 1.0) -> Array:
            return jax.random.normal(next(keys), shape) * (gain / np.sqrt(n_in))

        # Features come from a gate, which makes them smaller.
        self.linear_up = [] if first else [normal(c, c, c, gain=SILU_SCALE) for c in channels_in]
        widths = [*radial, sum(len(p.results) * channels_in[p.feature] for p in paired)]
        self.radial_mlp = [
            normal(i, i, o, gain=SILU_SCALE if n else 1.0) for n, (i, o) in enumerate(itertools.pairwise(widths))
        ]
        out = self.before_gate
        into = [sum(channels_in[p.feature] for p in paired if ell in p.results) for ell in range(len(out))]
        self.linear = [normal(i, i, o) for i, o in zip(into, out, strict=True)]
        self.self_connection = (
            [normal(1, elements, out[0])]
            if first
            else [
                normal(c, elements if species else 1, c, o, gain=SILU_SCALE)
                for c, o in zip(channels_in, out, strict=False)
            ]
        )
        self.norm = [jnp.ones(o) for o in out] if norm else None

    @property
    def before_gate(self) -> tuple[int, ...]:
        """Channels of each degree that the gate takes: a scalar more for each channel of higher degree."""
        return (sum(self.channels_out), *self.channels_out[1:])

    def radial(self, basis: Float[Array, "*n R"]) -> Float[Array, "*n PC"]:
        """Radial functions of the paths, in the order of `convolve_degrees`."""
        for weights in self.radial_mlp[:-1]:
            basis = jax.nn.silu(basis @ weights)
        return basis @ self.radial_mlp[-1]

    def own(self, features: Features | None, species: Int[Array, " N"]) -> Features:
        """The self-connection."""
        if features is None:
            return [self.self_connection[0][species][:, None]]
        if self.self_connection[0].shape[0] == 1:
            return [x @ w[0] for x, w in zip(features, self.self_connection, strict=False)]
        # One product for all elements, then a choice: a matrix for each atom would be read from memory.
        chosen = jax.nn.one_hot(species, self.self_connection[0].shape[0], dtype=features[0].dtype)
        return [
            jnp.einsum("nmso,ns->nmo", jnp.einsum("nmc,sco->nmso", x, w), chosen)
            for x, w in zip(features, self.self_connection, strict=False)
        ]

    def __call__(self, sums: Features, own: Features) -> Features:
        features = [s @ w for s, w in zip(sums, self.linear, strict=True)]
        features = [x + own[ell] if ell < len(own) else x for ell, x in enumerate(features)]
        if self.norm is not None:
            features = [x * w for x, w in zip(normalized(features), self.norm, strict=True)]
        return gated(features, self.channels_out)


def normalized(features: Features) -> Features:
    """Features of an atom divided by one size, as Nequix has it: the root of the mean over degrees of sum(x^2) / (2 l +
    1)^2, the sum being over components and channels."""
    square = sum(jnp.sum(x**2, axis=(1, 2)) / x.shape[1] ** 2 for x in features) / len(features)
    scale = jax.lax.rsqrt(square + EPSILON)
    return [x * scale[:, None, None] for x in features]


def gated(features: Features, channels: tuple[int, ...]) -> Features:
    """silu of the first scalars, and the other degrees multiplied by silu of the scalars that follow."""
    scalars = jax.nn.silu(features[0])
    ends = list(itertools.accumulate(channels))
    gates = [scalars[..., start:end] for start, end in itertools.pairwise(ends)]
    return [scalars[..., : channels[0]], *(x * g for x, g in zip(features[1:], gates, strict=True))]


class NequIP(MessagePassing):
    """Equivariant features of each atom, of several degrees; one sum over neighbours in each layer.

    Args:
        elements: chemical symbols.
        cutoff: Å.
        hidden_irreps: channels of each degree, "32x0e + 32x1o". Parities are natural, or all even ("32x0e + 32x1e"):
            then features tell an environment from its mirror image, as SevenNet's do, and more paths couple them.
        embedding_channels: channels of the first layer's messages.
        num_layers: layers.
        l_max: highest degree of the harmonics.
        num_bessels: Bessel functions of the distance; their wave numbers are trained.
        radial_mlp: hidden layers of the radial network.
        self_connection: "species", a matrix for each element, or "linear", one for all.
        layer_norm: whether features are divided by their size before the gate, as Nequix does.
        cutoff_fn: "polynomial", or "xplor".
        polynomial_p: power of the polynomial cutoff.
        xplor_start: Å, where "xplor" leaves 1.
        priors: physics added to the network.
        key: seeds the weights.

    Raises:
        ConfigError: a setting is outside its range.
    """

    embedding: Float[Array, "S C"]
    """What atoms of each element send in the first layer."""
    wave_numbers: Float[Array, " R"]
    """1/Å, of the Bessel functions."""
    layers: list[Layer]
    readout: Float[Array, "C 1"]
    l_max: int = eqx.field(static=True)
    cutoff_fn: str = eqx.field(static=True)
    polynomial_p: int = eqx.field(static=True)
    xplor_start: float = eqx.field(static=True)

    defaults: ClassVar[dict] = {
        "hidden_irreps": "32x0e + 32x1o + 16x2e",
        "embedding_channels": 32,
        "num_layers": 3,
        "l_max": 2,
        "num_bessels": 8,
        "radial_mlp": (64, 64),
        "self_connection": "species",
        "layer_norm": False,
        "cutoff_fn": "polynomial",
        "polynomial_p": 6,
        "xplor_start": 0.0,
    }

    def __init__(
        self,
        elements: tuple[str, ...],
        cutoff: float,
        *,
        hidden_irreps: str = "32x0e + 32x1o + 16x2e",
        embedding_channels: int = 32,
        num_layers: int = 3,
        l_max: int = 2,
        num_bessels: int = 8,
        radial_mlp: tuple[int, ...] = (64, 64),
        self_connection: str = "species",
        layer_norm: bool = False,
        cutoff_fn: str = "polynomial",
        polynomial_p: int = 6,
        xplor_start: float = 0.0,
        priors: Sequence[Prior] = (),
        key: Array,
    ):
        channels, natural = parse_irreps(hidden_irreps)
        check_range(
            "nequip",
            embedding_channels=(embedding_channels, 1, 1024),
            num_layers=(num_layers, 1, 12),
            l_max=(l_max, 0, 4),
            num_bessels=(num_bessels, 1, 64),
            polynomial_p=(polynomial_p, 2, 12),
            xplor_start=(xplor_start, 0.0, 0.99 * cutoff),
        )
        if len(channels) > l_max + 1:
            raise ConfigError(f"nequip: hidden_irreps {hidden_irreps!r} must not go beyond l = l_max = {l_max}")
        if not radial_mlp or min(radial_mlp) < 1:
            raise ConfigError(
                f"nequip: radial_mlp is {list(radial_mlp)}; it must list one or more positive layer widths"
            )
        if self_connection not in SELF_CONNECTIONS:
            raise ConfigError(f"nequip: self_connection is {self_connection!r}; it must be species or linear")
        if cutoff_fn not in ("polynomial", "xplor"):
            raise ConfigError(f"nequip: cutoff_fn is {cutoff_fn!r}; it must be polynomial or xplor")
        keys = jax.random.split(key, num_layers + 2)
        widths = [(embedding_channels,), *[channels] * (num_layers - 1), channels[:1]]
        self.embedding = jax.random.normal(keys[0], (len(elements), embedding_channels))
        self.wave_numbers = jnp.arange(1, num_bessels + 1) * (np.pi / cutoff)
        self.layers = [
            Layer(
                len(elements),
                into,
                out,
                paths(len(into) - 1, l_max, len(out) - 1, natural),
                (num_bessels, *radial_mlp),
                first=t == 0,
                species=self_connection == "species",
                norm=layer_norm,
                key=keys[t + 2],
            )
            for t, (into, out) in enumerate(itertools.pairwise(widths))
        ]
        self.readout = jax.random.normal(keys[1], (channels[0], 1)) * (SILU_SCALE / np.sqrt(channels[0]))
        self.cutoff, self.l_max, self.cutoff_fn = cutoff, l_max, cutoff_fn
        self.polynomial_p, self.xplor_start = polynomial_p, xplor_start
        self.energy_scale, self.neighbors_per_atom, self.priors = jnp.ones(()), jnp.asarray(20.0), list(priors)
        self.radial_tables = None

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    def only(self, rows: tuple[int, ...]) -> NequIP:
        """The same network for a few of its elements."""
        chosen = np.asarray(rows)
        by_species = [t == 0 or w.shape[0] > 1 for t, m in enumerate(self.layers) for w in m.self_connection]

        def parts(m):
            connections = (w for layer in m.layers for w in layer.self_connection)
            return [m.embedding, *itertools.compress(connections, by_species)]

        model = eqx.tree_at(parts, self, [part[chosen] for part in parts(self)])
        return eqx.tree_at(lambda m: m.priors, model, [prior.only(rows) for prior in self.priors])

    def head(self) -> Array:
        return self.readout

    def features(self, own: Features) -> Float[Array, "N C"]:
        return own[0][:, 0]

    @property
    def radial_kink(self) -> float:
        return self.xplor_start if self.cutoff_fn == "xplor" else 0.0

    def radial_functions(self, t: int, r: Float[Array, "*n"]) -> Float[Array, "*n PC"]:
        if self.cutoff_fn == "xplor":
            fcut = xplor(r, self.cutoff, self.xplor_start)
        else:
            fcut = envelope(r, self.cutoff, "polynomial", self.polynomial_p)
        basis = jnp.sin(r[..., None] * self.wave_numbers)
        return self.layers[t].radial(basis * ((2.0 / self.cutoff) * fcut / r)[..., None])

    def first_layer(self, neighborhood: Neighborhood):
        return self._layer(0, neighborhood, None, self.embedding[neighborhood.neighbor_species])

    def message(self, t: int, own: Features) -> Float[Array, "N F"]:
        sent = [x @ w for x, w in zip(own, self.layers[t].linear_up, strict=True)]
        return jnp.concatenate([x.reshape(x.shape[0], -1) for x in sent], axis=1)

    def layer(self, t, neighborhood, own, received):
        return self._layer(t, neighborhood, own, received)

    def _layer(self, t: int, neighborhood: Neighborhood, own: Features | None, received: Float[Array, "N K F"]):
        layer, r = self.layers[t], distances(neighborhood)
        # e3nn's harmonics have their polar axis along y.
        unit = neighborhood.vectors / r[..., None]
        values = spherical_harmonics(unit[..., 2], unit[..., 0], unit[..., 1], self.l_max)
        harmonics = [
            np.sqrt(2 * ell + 1) * jnp.stack(values[ell**2 : (ell + 1) ** 2], axis=1) for ell in range(self.l_max + 1)
        ]
        radial = self.radial(t, r, neighborhood.mask)
        sums = convolve_degrees(radial, harmonics, received, layer.channels_in, layer.paired)
        scale = 1.0 / jnp.sqrt(jax.lax.stop_gradient(self.neighbors_per_atom))
        features = layer([s * scale for s in sums], layer.own(own, neighborhood.species))
        if t < self.n_layers - 1:
            return features, jnp.zeros(r.shape[0], r.dtype)
        return features, (features[0][:, 0] @ self.readout)[:, 0]


def paths(l_in: int, l_max: int, l_out: int, natural: bool) -> tuple[Pairing, ...]:
    """Pairings of features up to ``l_in`` with harmonics up to ``l_max``, with results up to ``l_out``: those of
    natural parity, or all."""
    paired = [
        Pairing(l1, l2, tuple(range(abs(l1 - l2), min(l_out, l1 + l2) + 1, 2 if natural else 1)))
        for l1 in range(l_in + 1)
        for l2 in range(l_max + 1)
    ]
    return tuple(pairing for pairing in paired if pairing.results)


def parse_irreps(text: str) -> tuple[tuple[int, ...], bool]:
    """Channels of each degree l = 0, 1, ..., and whether parities are natural ("32x0e + 16x1o") or all even.

    Raises:
        ConfigError: anything else.
    """
    pieces = str(text).split("+")
    parts = [part for piece in pieces if (part := re.fullmatch(r"(\d+)x(\d+)([eo])", piece.strip()))]
    channels, parities = tuple(int(p[1]) for p in parts), [p[3] for p in parts]
    natural = parities == ["eo"[ell % 2] for ell in range(len(parts))]
    in_turn = [int(p[2]) for p in parts] == list(range(len(pieces)))
    if in_turn and min(channels) > 0 and (natural or set(parities) == {"e"}):
        return channels, natural
    raise ConfigError(
        f"nequip: hidden_irreps is {text!r}; it must give the channels for l = 0, 1, ... in turn, of natural parity "
        "such as 64x0e + 32x1o + 16x2e, or all even such as 64x0e + 32x1e"
    )
