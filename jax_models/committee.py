"""A committee: several models of one architecture, whose mean is the potential and whose spread tells its error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jax_models.errors import ConfigError
from jax_models.message_passing.network import MessagePassing
from jax_models.neighborhood import Neighborhood


class Committee(eqx.Module):
    """The mean of several local models. What does not depend on their parameters, as the sums over neighbours of a
    fixed basis, is computed once for all."""

    members: Any
    """One model whose arrays have the members as first axis."""
    shifts: Float[Any, "M S"]
    """eV an atom of each element: what a member's reference energies have more than the committee's, their mean."""
    n_members: int = eqx.field(static=True)

    @property
    def kind(self) -> str:
        return self.members.kind

    @property
    def n_layers(self) -> int:
        return self.members.n_layers

    @property
    def centers(self) -> str:
        return self.members.centers

    @property
    def spacing(self) -> float:
        return self.members.spacing

    @property
    def priors(self) -> list:
        return self.members.priors

    def members_energies(self, neighborhood: Neighborhood) -> Float[Array, "M N"]:
        """Energy of each centre (eV) by each member."""
        return self._energies(neighborhood) + jnp.take(self.shifts, neighborhood.species, axis=1)

    def _energies(self, neighborhood: Neighborhood) -> Float[Array, "M N"]:
        return _each(self.members, lambda member: member.energies(neighborhood))

    def energies(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        return jnp.mean(self._energies(neighborhood), axis=0)

    def energies_and_features(self, neighborhood: Neighborhood) -> tuple[Float[Array, " N"], Float[Array, "N F"]]:
        """Energy of each centre (eV), and the features of the first member."""
        energies, features = _each(self.members, lambda member: member.energies_and_features(neighborhood))
        return jnp.mean(energies, axis=0), features[0]

    def member(self, index: int) -> Any:
        """One of the models."""
        return _take(self.members, index)


class CommitteeOfNetworks(MessagePassing):
    """The mean of several message-passing networks, which pass their messages together, as one network does."""

    members: Any
    """One network whose arrays have the members as first axis."""
    shifts: Float[Any, "M S"]
    """As of a `Committee`."""
    n_members: int = eqx.field(static=True)

    @property
    def n_layers(self) -> int:
        return self.members.n_layers

    def radial_width(self) -> int:
        return self.member(0).radial_width()

    def members_energies(self, neighborhood: Neighborhood) -> Float[Array, "M N"]:
        """Energy of each centre (eV) by each member."""
        seen = self.seen(neighborhood)
        common = self.prior_energies(neighborhood) + jnp.take(self.shifts, neighborhood.species, axis=1)
        return _each(self.members, lambda member: member.energies(seen)) + common

    def member(self, index: int) -> Any:
        """One of the networks."""
        member = _take(self.members, index)
        empty = lambda leaf: isinstance(leaf, list) and not leaf  # noqa: E731
        return eqx.tree_at(lambda m: m.priors, member, self.priors, is_leaf=empty)

    def head(self) -> tuple[()]:
        """None: members differ in all of their parameters."""
        return ()

    def tabulated(self) -> CommitteeOfNetworks:
        tables = [self.member(n).tabulated() for n in range(self.n_members)]
        layouts = {str(jax.tree.map(jnp.shape, eqx.filter(t, eqx.is_array))) for t in tables}
        # Tables are as long as their functions need; where members differ in that, there are none.
        return eqx.tree_at(lambda m: m.members, self, stacked(tables)) if len(layouts) == 1 else self

    # Everything that belongs to a centre has the centres first and the members second.

    def first_layer(self, neighborhood: Neighborhood):
        own, output = _each(self.members, lambda member: _scaled(member, member.first_layer(neighborhood)), out_axes=1)
        return own, jnp.mean(output, axis=1)

    def message(self, t: int, own: PyTree) -> Float[Array, "N MF"]:
        found = _each(self.members, lambda member, own: member.message(t, own), own, in_axes=1, out_axes=1)
        return found.reshape(found.shape[0], -1)

    def layer(self, t, neighborhood, own, received):
        received = received.reshape(*received.shape[:2], self.n_members, -1)
        own, output = _each(
            self.members,
            lambda member, own, received: _scaled(member, member.layer(t, neighborhood, own, received)),
            own,
            jnp.moveaxis(received, 2, 1),
            in_axes=1,
            out_axes=1,
        )
        return own, jnp.mean(output, axis=1)

    def features(self, own: PyTree) -> Float[Array, "N F"]:
        return _take(self.members, 0).features(jax.tree.map(lambda leaf: leaf[:, 0], own))


def committee_of(models: Sequence[Any], n_elements: int, shifts: Any = None) -> Committee | CommitteeOfNetworks:
    """The committee of models that have one architecture.

    Args:
        n_elements: of the models.
        shifts: [M, S], as `Committee.shifts`; zero if not given.

    Raises:
        ConfigError: there are fewer than two, or their arrays differ in shape.
    """
    if len(models) < 2:
        raise ConfigError(f"a committee has two members or more, not {len(models)}")
    if not hasattr(models[0], "energies_and_features"):
        raise ConfigError(
            f"a committee of {type(models[0]).__name__} is not possible; use local or learned descriptors"
        )
    members, n = stacked(models), len(models)
    shifts = jnp.zeros((n, n_elements)) if shifts is None else jnp.asarray(shifts)
    if not isinstance(models[0], MessagePassing):
        return Committee(members, shifts, n)
    first = models[0]
    # Each member scales its own output; the priors, which have no parameters, are added once.
    one = jnp.ones(())
    if first.priors:
        members = eqx.tree_at(lambda m: m.priors, members, [])
    return CommitteeOfNetworks(
        cutoff=first.cutoff, energy_scale=one, neighbors_per_atom=one, priors=first.priors, radial_tables=None,
        members=members, shifts=shifts, n_members=n,
    )  # fmt: skip


def stacked(models: Sequence[Any]) -> Any:
    """One model whose arrays have ``models`` as first axis.

    Raises:
        ConfigError: they differ in more than the values of their arrays.
    """
    parts = [eqx.partition(model, eqx.is_array) for model in models]
    static = parts[0][1]
    if any(not eqx.tree_equal(static, other) for _, other in parts[1:]):
        raise ConfigError("the members of a committee must have one architecture, with the same settings")
    try:
        return eqx.combine(jax.tree.map(lambda *leaves: jnp.stack(leaves), *(arrays for arrays, _ in parts)), static)
    except ValueError:
        raise ConfigError("the members of a committee must have one architecture, with the same settings") from None


def _each(members: Any, function: Any, *arguments: Any, in_axes: int = 0, out_axes: int = 0) -> Any:
    """``function`` of each member, and of its part of the ``arguments``."""
    arrays, static = eqx.partition(members, eqx.is_array)
    axes = (0, *[in_axes] * len(arguments))
    run = jax.vmap(lambda a, *rest: function(eqx.combine(a, static), *rest), in_axes=axes, out_axes=out_axes)
    return run(arrays, *arguments)


def _take(members: Any, index: int) -> Any:
    arrays, static = eqx.partition(members, eqx.is_array)
    return eqx.combine(jax.tree.map(lambda leaf: leaf[index], arrays), static)


def _scaled(member: Any, result: tuple[Any, Array]) -> tuple[Any, Array]:
    own, output = result
    return own, member.scaled(output)
