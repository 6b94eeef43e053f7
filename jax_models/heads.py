"""One trunk with several heads: outputs for several teachers, or for the classes of a classifier, at the cost of
one."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood


class Heads(eqx.Module):
    """A model, and H heads that may each take the place of its own; whatever they share is computed once.

    Example:
        >>> from jax_models.models import build
        >>> heads = Heads.of(build({"readout": {"name": "linear"}}, ("Si",), 5.0), 3)
        >>> heads.heads[0].shape[0]
        3
    """

    model: Any
    heads: PyTree[Float[Array, "H *shape"]]

    @staticmethod
    def of(model: Any, number: int) -> Heads:
        """``number`` copies of ``model``'s own head.

        Raises:
            ConfigError: a model that has no trunk and head to tell apart.
        """
        if not hasattr(model, "head"):
            raise ConfigError(
                f"{type(model).__name__} has no head that could be taken off its trunk; choose another model"
            )
        repeat = lambda leaf: jnp.repeat(jnp.asarray(leaf)[None], number, axis=0)  # noqa: E731
        # The model's own head is not used: kept, it would be trained on nothing.
        bare = with_head(model, jax.tree.map(jnp.zeros_like, model.head()))
        return Heads(bare, jax.tree.map(repeat, model.head()))

    def head(self, index: int) -> PyTree[Array]:
        """One of the heads."""
        return jax.tree.map(lambda leaf: leaf[index], self.heads)

    def at(self, index: int) -> Any:
        """The model with one of the heads."""
        return with_head(self.model, self.head(index))

    def outputs(self, neighborhood: Neighborhood) -> Float[Array, "N H"]:
        """What each head says of each centre."""
        return jax.vmap(lambda head: with_head(self.model, head).energies(neighborhood), out_axes=1)(self.heads)


class SelectedHeads(eqx.Module):
    """`Heads` as a model with one output: for each centre the one of a given head."""

    heads: Heads
    choice: Int[Array, " N"]

    def energies(self, neighborhood: Neighborhood) -> Float[Array, " N"]:
        outputs = self.heads.outputs(neighborhood)
        # A product with a 0/1 matrix: the derivative of an indexing is a scatter.
        return jnp.sum(outputs * jax.nn.one_hot(self.choice, outputs.shape[1], dtype=outputs.dtype), axis=1)


def with_head(model: Any, head: PyTree[Array]) -> Any:
    """``model`` with ``head`` in place of its own."""
    return eqx.tree_at(lambda m: jax.tree.leaves(m.head()), model, jax.tree.leaves(head))


def only_head(model: eqx.Module) -> PyTree[bool]:
    """True for the leaves of the head, False for those of the trunk."""
    nothing = jax.tree.map(lambda leaf: False, model)
    return eqx.tree_at(lambda m: jax.tree.leaves(m.head()), nothing, replace_fn=lambda leaf: True)


def structure_sums(
    values: Float[Array, "A *rest"], structure: Int[Array, " A"], number: int
) -> Float[Array, "B *rest"]:
    """Sums over the atoms of each structure; a product with a 0/1 matrix, for a scatter would run one atom at a
    time."""
    member: Any = (structure == jnp.arange(number)[:, None]).astype(values.dtype)
    return jnp.tensordot(member, values, axes=1)
