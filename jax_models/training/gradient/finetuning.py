"""Starting from a trained potential: its model for more elements, and its reference energies for other data."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jax_models.elements import ATOMIC_NUMBERS
from jax_models.errors import ConfigError
from jax_models.models import build
from jax_models.potential import Potential
from jax_models.training.data.structures import Structure, elements_of, reference_energies
from jax_models.training.gradient.losses import predict

AGREEMENT = 1e-4
"""eV; a model grown by an element must give the old elements' energies to this."""


@dataclass(frozen=True)
class Start:
    """Where a training starts: a model, its elements, and what the energies of new data are referred to."""

    model: eqx.Module
    elements: tuple[str, ...]
    potential: Potential

    @staticmethod
    def of(potential: Potential, structures: Sequence[Structure], seed: int = 0) -> Start:
        """``potential``'s model, grown by the elements of ``structures`` that it lacks.

        Raises:
            ConfigError: a potential that cannot be trained on, or whose features change their meaning with the
                elements.
        """
        if potential.architecture.get("name") == "exported":
            raise ConfigError("an exported potential holds compiled code, not a model: it cannot be trained on")
        new = [e for e in elements_of(structures) if e not in potential.elements]
        elements = (*potential.elements, *sorted(new, key=ATOMIC_NUMBERS.__getitem__))
        return Start(grown(potential, elements, seed), elements, potential)

    def references(self, structures: Sequence[Structure], batches: Sequence[Any]) -> np.ndarray:
        """Energy of each element that leaves the model the least to learn: data of another code or functional differ
        by a constant for each element. ``batches`` hold ``structures`` in order, their energies not referred to
        anything.
        """
        evaluate = eqx.filter_jit(lambda model, batch: predict(model, batch)[0])
        found = [np.asarray(evaluate(self.model, b), float)[b.energy_weight > 0] for b in batches]
        predicted = np.concatenate(found)
        left = [dataclasses.replace(s, energy=s.energy - e) for s, e in zip(structures, predicted, strict=True)]
        # What the model says of an isolated atom may mean nothing: the bound structures settle the constants.
        left = [s for s in left if not s.isolated] or left
        present = {symbol for s in structures for symbol in s.symbols}
        fitted = dict(zip(self.elements, reference_energies(left, self.elements), strict=True))
        old = dict(zip(self.potential.elements, self.potential.reference_energies, strict=True))
        # Of an element that the new data lack they say nothing.
        return np.array([fitted[e] if e in present else old[e] for e in self.elements])


def grown(potential: Potential, elements: Sequence[str], seed: int = 0) -> eqx.Module:
    """``potential``'s model for ``elements``, of which its own come first; fresh parameters for the others.

    Raises:
        ConfigError: its features change their meaning with the elements.
    """
    old = potential.model
    if tuple(elements) == potential.elements:
        return old
    new = build(potential.architecture, tuple(elements), potential.cutoff, seed)
    sizes = len(potential.elements), len(elements)
    added = ", ".join(elements[sizes[0] :])
    try:
        # Leaf by leaf: what is not an array, such as a prior's elements, is that of the larger model.
        leaves, structure = jax.tree.flatten(new)
        pairs = zip(jax.tree.leaves(old), leaves, strict=True)
        filled = jax.tree.unflatten(structure, [_filled(a, b, *sizes) if eqx.is_array(a) else b for a, b in pairs])
        change = _change(
            potential,
            dataclasses.replace(
                potential, model=filled, contract=dataclasses.replace(potential.contract, elements=tuple(elements))
            ),
        )
    except (ValueError, TypeError):
        change = np.inf
    if not change < AGREEMENT:
        name = potential.architecture.get("name") or potential.architecture["descriptor"]["name"]
        raise ConfigError(
            f"{added} cannot be added to this potential: the features of {name} change their meaning with the "
            "number of elements. "
            "Train a new one on all of the data"
        )
    return filled


def _filled(old: Array, new: Array, before: int, after: int) -> Array:
    """``new`` with ``old`` in the places of the old elements, along every axis that grew with their number."""
    result, place = jnp.asarray(new), []
    for size, larger in zip(np.shape(old), np.shape(new), strict=True):
        if size == larger:
            place.append(slice(None))
        elif size * after == larger * before:
            place.append(slice(0, size))  # elements come one after another along such an axis
        else:
            raise ValueError("an axis grew otherwise than with the number of elements")
    return result.at[tuple(place)].set(jnp.asarray(old))


def _change(before: Potential, after: Potential) -> float:
    """Difference in energy of a small structure of the old elements."""
    generator = np.random.default_rng(0)
    n = max(6, len(before.elements))
    positions = (
        0.45
        * before.cutoff
        * (np.array([[i % 2, i // 2 % 2, i // 4] for i in range(n)]) + generator.uniform(-0.12, 0.12, (n, 3)))
    )
    symbols = [before.elements[i % len(before.elements)] for i in range(n)]
    energies = []
    for potential in (before, dataclasses.replace(after, reference_energies=np.zeros(len(after.elements)))):
        found = potential.evaluate(positions, np.zeros((3, 3)), False, symbols)
        energies.append(found["energy"] - potential.reference_energies[potential.species_of(symbols)].sum())
    return abs(energies[1] - energies[0])
