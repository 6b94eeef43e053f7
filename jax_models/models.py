"""What a configuration builds: an equinox module with ``energies(neighborhood)``. One registry line an architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jax_models.cluster_expansion.pace import PACE
from jax_models.committee import Committee, committee_of
from jax_models.descriptors import DESCRIPTORS, WHOLE_CELL
from jax_models.errors import ConfigError
from jax_models.interfaces import Descriptor, Prior, Readout, ReferencePoints
from jax_models.message_passing import MESSAGE_PASSING
from jax_models.message_passing.network import MessagePassing
from jax_models.neighborhood import Neighborhood
from jax_models.priors import PRIORS
from jax_models.priors.zbl import split
from jax_models.readouts import READOUTS
from jax_models.reference_points import REFERENCE_POINTS
from jax_models.whole_cell import WholeCellModel


class LocalModel(eqx.Module):
    """Descriptor -> normalised features -> readout, plus priors: the energy of each centre in eV.

    The mean and scale of the features are set once from training data and are not trained.
    """

    kind: ClassVar[str] = "local"
    n_layers: ClassVar[int] = 1

    descriptor: Descriptor
    readout: Readout
    priors: list[Prior]
    feature_mean: Float[Array, " F"]
    feature_scale: Float[Array, " F"]

    @property
    def centers(self) -> str:
        """What the rows of the Neighborhood are: "atoms", or "grid" for points."""
        return "atoms"

    @property
    def spacing(self) -> float:
        """Å between points of a grid; 0 where there is none."""
        return 0.0

    def features(self, neighborhood: Neighborhood) -> Float[Array, "N F"]:
        """Normalised features of each centre."""
        return self._features(split(self.priors, neighborhood)[0])

    def _features(self, seen: Neighborhood) -> Float[Array, "N F"]:
        mean, scale = jax.lax.stop_gradient((self.feature_mean, self.feature_scale))
        # Scaled with the atoms last, as the descriptors have them: in the other order the gradient costs 0.5 us an atom
        # more.
        return ((self.descriptor(seen).T - mean[:, None]) * scale[:, None]).T

    def head(self) -> PyTree[Array]:
        """The parameters in which the energy is linear. The others are the trunk, which other heads may share."""
        return self.readout.head()

    @property
    def only(self) -> Callable[[tuple[int, ...]], LocalModel]:
        """``only(rows)`` is the same model for some of its elements, by their places.

        Raises:
            AttributeError: (so that `hasattr` tells) a part of the model cannot be cut down.
        """
        parts: list[Any] = [self.descriptor, self.readout, *self.priors]
        if missing := [type(part).__name__ for part in parts if not hasattr(part, "only")]:
            raise AttributeError(f"{', '.join(missing)} cannot be cut down to fewer elements")

        def cut(rows: tuple[int, ...]) -> LocalModel:
            descriptor, readout, *priors = (part.only(rows) for part in parts)
            return eqx.tree_at(lambda m: (m.descriptor, m.readout, m.priors), self, (descriptor, readout, priors))

        return cut

    def energies(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        return self.energies_and_features(neighborhood)[0]

    def energies_and_features(self, neighborhood: Neighborhood) -> tuple[Float[Array, " N"], Float[Array, "N F"]]:
        """Energy of each centre (eV), and the normalised features that it was made from."""
        seen, of_priors = split(self.priors, neighborhood)
        features = self._features(seen)
        return self.readout(features, neighborhood.species) + of_priors, features


def at_point(descriptor: Descriptor, environments: Neighborhood) -> Float[Array, "N F"]:
    """Features of points that are no atoms. A species of -1 tells descriptors that count an atom at the centre that
    there is none; to others every point is like an atom of the first element."""
    centers = environments.species
    species = jnp.full_like(centers, -1 if getattr(descriptor, "counts_center", False) else 0)
    return descriptor(environments._replace(species=species))


class PointDescriptor(eqx.Module):
    """A descriptor on points that are not atoms. One network serves all of them, whatever elements are around."""

    points: ReferencePoints
    inner: Descriptor

    def at_point(self, environments: Neighborhood) -> Float[Array, "N F"]:
        return at_point(self.inner, environments)

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, "N F"]:
        """Mean over each atom's points, by which the features are normalised."""

        def weighted(environments, weights):
            return jnp.concatenate([self.at_point(environments), jnp.ones_like(weights)[:, None]], 1) * weights[:, None]

        sums = self.points.over_points(neighborhood, weighted)
        return sums[:, :-1] / jnp.maximum(sums[:, -1:], 1e-6)

    @property
    def n_features(self) -> int:
        return self.inner.n_features


VOLUME = 2.0
"""Å^3: the readout's output is the energy in this volume around a point of a grid. It is a tenth of an atom's volume,
because structures differ far less than points do: GMP trained on 8 structures of mlearn Si for 60 epochs was off by
88 meV/atom with 20 Å^3, and by 37 with 2."""


class PointModel(LocalModel):
    """A local model that looks from reference points: the energies of atoms are weighted sums over their points.

    Where the rows are points themselves (``centers`` "grid"), it gives the energy density there in eV/Å^3. The density
    of empty space is subtracted, so vacuum costs nothing, and points that see no atom may be left out.
    """

    descriptor: PointDescriptor

    @property
    def centers(self) -> str:
        return self.descriptor.points.centers

    @property
    def spacing(self) -> float:
        return self.descriptor.points.spacing_for(self.descriptor.inner) if self.centers == "grid" else 0.0

    def energies_and_features(self, neighborhood: Neighborhood) -> tuple[Float[Array, " N"], Float[Array, "N F"]]:
        """As `LocalModel.energies_and_features`; the features of an atom are the mean of its points'."""
        return self.energies(neighborhood), self.features(neighborhood)

    def energies(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        mean, scale = jax.lax.stop_gradient((self.feature_mean, self.feature_scale))

        def weighted(environments, weights):
            features = (self.descriptor.at_point(environments) - mean) * scale
            return weights * self.readout(features, jnp.zeros_like(environments.species))

        seen, of_priors = split(self.priors, neighborhood)
        energy = self.descriptor.points.over_points(seen, weighted)
        if self.centers == "grid":
            empty = self.descriptor.points.over_points(_empty(neighborhood.vectors.dtype), weighted)
            energy = (energy - empty) * (1.0 / VOLUME)
        return energy + of_priors


def _empty(dtype: Any) -> Neighborhood:
    """One point that sees nothing."""
    one = jnp.zeros((1, 1), jnp.int32)
    return Neighborhood(jnp.ones((1, 1, 3), dtype), one[0] - 1, one, one > 0)


def build(
    architecture: dict[str, Any], elements: tuple[str, ...], cutoff: float, seed: int = 0
) -> LocalModel | MessagePassing | WholeCellModel | Committee:
    """The model that ``architecture`` describes, with fresh parameters.

    Args:
        architecture: ``{"descriptor": {"name": "ace", ...}, "readout": {"name": "mlp", ...}, "priors": [{"name": "zbl",
            ...}]}`` for a local model, with ``"reference_points": {"name": "bonds", ...}`` one that looks from there,
            ``{"name": "painn", ..., "priors": [...]}`` for a message-passing one; what is left out takes its default. A
            descriptor of whole cells without reference points makes a model of whole cells. ``{"members": 4, "of":
            {...}}`` is a committee of such models.

    Raises:
        ConfigError: an unknown name or setting, or one outside its range.

    Example:
        >>> model = build({"descriptor": {"name": "ace", "l_max": 2}}, ("Si",), 5.0)
        >>> model.descriptor.n_features
        160
    """
    if not cutoff > 0:
        raise ConfigError(f"cutoff is {cutoff}; it must be a positive distance in Å")
    if "members" in architecture:
        members = [build(architecture["of"], elements, cutoff, seed + n) for n in range(architecture["members"])]
        return committee_of(members, len(elements))
    priors = [construct(PRIORS, "prior", prior, elements, cutoff) for prior in architecture.get("priors", [])]
    if architecture.get("name") == "pace":
        return construct({"pace": PACE}, "architecture", architecture, elements, cutoff)
    if "name" in architecture:
        settings = {k: v for k, v in architecture.items() if k != "priors"}
        return construct(
            MESSAGE_PASSING, "architecture", settings, elements, cutoff, priors=priors, key=jax.random.PRNGKey(seed)
        )
    unknown = set(architecture) - {"descriptor", "readout", "priors", "reference_points"}
    if unknown:
        raise ConfigError(f"unknown key in the architecture: {', '.join(sorted(unknown))}")
    key_descriptor, key_readout = jax.random.split(jax.random.PRNGKey(seed))
    if sees_whole_cell(architecture):
        if priors:
            raise ConfigError("priors act between neighbours, which a model of whole cells does not have; remove them")
        descriptor = construct(WHOLE_CELL, "descriptor", architecture["descriptor"], elements)
        n = descriptor.n_features
        readout = construct(READOUTS, "readout", architecture.get("readout", {"name": "linear"}), n, 1, key=key_readout)
        return WholeCellModel(descriptor, readout, jnp.zeros(n), jnp.ones(n))
    points = construct(REFERENCE_POINTS, "reference points", _reference_points(architecture), cutoff)
    settings = architecture.get("descriptor", {"name": "ace"})
    descriptor = build_descriptor(settings, elements, points.descriptor_cutoff, key_descriptor)
    n = descriptor.n_features
    off_atoms = not isinstance(points, REFERENCE_POINTS["atoms"])
    networks = 1 if off_atoms else len(elements)
    readout = construct(READOUTS, "readout", architecture.get("readout", {"name": "mlp"}), n, networks, key=key_readout)
    if off_atoms:
        model = PointModel(PointDescriptor(points, descriptor), readout, priors, jnp.zeros(n), jnp.ones(n))
        if model.spacing and priors:
            raise ConfigError(
                "priors act between atoms, which a grid's points are not; remove them, or use atoms or bonds"
            )
        return model
    return LocalModel(descriptor, readout, priors, jnp.zeros(n), jnp.ones(n))


def sees_whole_cell(architecture: dict[str, Any]) -> bool:
    """Whether ``architecture`` describes a `WholeCellModel`.

    Example:
        >>> sees_whole_cell({"descriptor": {"name": "scattering"}})
        True
        >>> sees_whole_cell({"descriptor": {"name": "scattering"}, "reference_points": "grid"})
        False
    """
    name = architecture.get("descriptor", {}).get("name")
    return name in WHOLE_CELL and "reference_points" not in architecture


def sees_grid(architecture: dict[str, Any]) -> bool:
    """Whether ``architecture`` describes a model whose environments are those of a grid's points.

    Example:
        >>> sees_grid({"reference_points": "grid"}), sees_grid({"reference_points": {"name": "bonds"}})
        (True, False)
    """
    return _reference_points(architecture).get("name") == "grid"


def _reference_points(architecture: dict[str, Any]) -> dict[str, Any]:
    """The settings of the reference points; a name alone will do."""
    given = architecture.get("reference_points", "atoms")
    return {"name": given} if isinstance(given, str) else given


def completed(architecture: dict[str, Any]) -> dict[str, Any]:
    """``architecture`` with every default written out. Files hold this, because defaults may change.

    Example:
        >>> completed({"descriptor": {"name": "ace"}})["readout"]["name"]
        'mlp'
    """
    if "members" in architecture:
        return {**architecture, "of": completed(architecture["of"])}
    parts: dict[str, Any] = {"priors": [_with_defaults(PRIORS, prior) for prior in architecture.get("priors", [])]}
    if "name" in architecture:
        return _with_defaults(MESSAGE_PASSING, {k: v for k, v in architecture.items() if k != "priors"}) | parts
    if "reference_points" in architecture:
        parts["reference_points"] = _with_defaults(REFERENCE_POINTS, _reference_points(architecture))
    descriptors, readout = (WHOLE_CELL, "linear") if sees_whole_cell(architecture) else (DESCRIPTORS, "mlp")
    return {
        **architecture,
        "descriptor": _with_defaults(descriptors, architecture.get("descriptor", {"name": "ace"})),
        "readout": _with_defaults(READOUTS, architecture.get("readout", {"name": readout})),
        **parts,
    }


def _with_defaults(registry: Mapping[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    defaults = getattr(registry.get(str(settings.get("name"))), "defaults", {})
    return {key: list(value) if isinstance(value, tuple) else value for key, value in {**defaults, **settings}.items()}


def build_descriptor(settings: dict[str, Any], elements: tuple[str, ...], cutoff: float, key: Array) -> Any:
    """The descriptor of ``settings`` for ``elements``. Most descriptors need only the number of elements; those with
    ``by_symbol`` need their symbols."""
    given = elements if getattr(DESCRIPTORS.get(str(settings.get("name"))), "by_symbol", False) else len(elements)
    return construct(DESCRIPTORS, "descriptor", settings, given, cutoff, key=key)


def construct(registry: Mapping[str, Any], kind: str, settings: dict[str, Any], *arguments: Any, **fixed: Any) -> Any:
    """Look ``settings["name"]`` up in ``registry`` and call it with the other settings, refusing unknown ones."""
    settings = dict(settings)
    name = settings.pop("name", None)
    if name not in registry:
        raise ConfigError(f"unknown {kind} {name!r}; choose from {', '.join(sorted(registry))}")
    allowed = registry[name].defaults
    unknown = set(settings) - set(allowed)
    if unknown:
        raise ConfigError(
            f"{kind} {name} has no setting {', '.join(sorted(unknown))}; it has {', '.join(sorted(allowed)) or 'none'}"
        )
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    return registry[name](*arguments, **settings, **fixed)
