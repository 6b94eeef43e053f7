"""Small untrained potentials that know their errors: what they say is compared, not how good they are."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from conftest import make_potential
from message_passing_potentials import message_passing_potential

from jax_models.neighborhood import Neighborhood
from jax_models.precision import model_in
from jax_models.training.data.structures import Structure
from jax_models.training.settings import Settings
from jax_models.training.uncertainty import joined, with_uncertainty
from jax_models.uncertainty import Grade, Uncertainty

ELEMENTS = ("Si", "O")
ACE = {
    "descriptor": {"name": "ace", "n_channels": 2, "n_radial": 3, "l_max": 1, "body_order": 3},
    "priors": [{"name": "zbl"}],
}
CELL = np.diag([6.0, 6.5, 7.0])


def structures_labelled_by(teacher, n: int, seed: int = 0) -> list[Structure]:
    """Disordered cells of twelve atoms, in which no two are close."""
    generator = np.random.default_rng(seed)
    lattice = np.array(np.meshgrid(np.arange(3) / 3, np.arange(2) / 2, np.arange(2) / 2)).reshape(3, -1).T @ CELL
    found = []
    for number in range(n):
        positions = lattice + generator.normal(scale=0.25, size=lattice.shape)
        symbols = tuple(generator.choice(ELEMENTS, len(positions)))
        labels = teacher.evaluate(positions, CELL, True, list(symbols))
        found.append(
            Structure(
                positions, CELL, np.ones(3, bool), symbols, labels["energy"], labels["forces"], labels["virial"],
                name=f"structure {number}",
            )
        )  # fmt: skip
    return found


def bare(kind: str, seed: int = 1, **settings):
    """An untrained potential of silicon and oxygen: ace or a message-passing network."""
    if kind == "ace":
        return make_potential(ELEMENTS, architecture=ACE, seed=seed)
    return message_passing_potential(kind, ELEMENTS, cutoff=3.3, seed=seed, **settings)


def knowing(potential, n: int = 10, heads: int = 3):
    """``potential`` with an uncertainty, calibrated on structures that another potential has labelled."""
    labelled = structures_labelled_by(make_potential(ELEMENTS, architecture=ACE, seed=7), n)
    kept = n - max(n // 4, 1)
    return with_uncertainty(potential, labelled[:kept], labelled[kept:], Settings(heads=heads))


def n_head_of(model) -> int:
    """Parameters of a model's head; a committee of local models has none."""
    return sum(np.size(leaf) for leaf in jax.tree.leaves(model.head())) if hasattr(model, "head") else 0


def doubtful(potential, seed: int = 0):
    """``potential`` with an uncertainty of random numbers: quickly made, where only what engines make of it counts."""
    generator = np.random.default_rng(seed)
    number = lambda *shape: generator.normal(size=shape).astype(np.float32)  # noqa: E731
    one = np.zeros((1, 1), np.int32)
    alone = Neighborhood(np.ones((1, 1, 3), np.float32), one[0], one, one > 0, one)
    model = model_in(potential.model, np.float32)
    n_features = jax.eval_shape(model.energies_and_features, alone)[1].shape[1]
    n_elements, n_head = len(potential.elements), n_head_of(model)
    grade = Grade(number(n_elements, n_features, 6) / n_features**0.5, number(n_elements, 6))
    heads = 0.05 * number(3, n_head)
    heads = np.zeros((0, 0), np.float32) if hasattr(model, "n_members") else heads - heads.mean(axis=0)
    bar, exponents, smallest = np.float32(0.4), np.array([0.7, 0.3], np.float32), np.float32(0.2)
    return dataclasses.replace(
        potential, uncertainty=Uncertainty(grade, bar, exponents, smallest, heads, np.float32(1.3))
    )


def committee(kind: str, members: int = 3, **settings):
    """Potentials of other seeds and other reference energies, joined."""
    parts = [bare(kind, seed, **settings) for seed in range(1, 1 + members)]
    shifted = [
        dataclasses.replace(part, reference_energies=part.reference_energies + [0.1 * n, -0.3 * n])
        for n, part in enumerate(parts)
    ]
    return joined(shifted), shifted
