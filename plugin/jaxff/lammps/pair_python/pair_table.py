"""The pair function of a potential that is a sum over pairs, as a table fine enough to be exact for any purpose."""

from __future__ import annotations

import itertools

import numpy as np

from jax_models import ConfigError, Potential, StructureError

SHORTEST = 0.02
"""Å; the table starts here."""
SPACING = 5e-4
"""Å between knots: a cubic through values and slopes is then 1e-10 or better of a screened Coulomb repulsion."""
TOLERANCE = 1e-8


def check_pairwise(potential: Potential, name: str) -> None:
    """See that clusters have the energy of their pairs.

    Raises:
        ConfigError: they have not.
    """
    generator = np.random.default_rng(0)
    # Side lengths between a few tenths of the cutoff and the cutoff: every term of a model is at work.
    clusters = [_spread(generator, n, 0.35 * potential.cutoff, 0.9 * potential.cutoff) for n in (3, 4, 3, 4, 5)]
    symbols = [
        [potential.elements[i] for i in generator.integers(len(potential.elements), size=len(c))] for c in clusters
    ]
    pairs = [list(itertools.combinations(range(len(c)), 2)) for c in clusters]
    structures = [(np.zeros((1, 3)), [e]) for e in potential.elements] + list(zip(clusters, symbols, strict=True))
    for positions, names, indices in zip(clusters, symbols, pairs, strict=True):
        structures += [(positions[[a, b]], [names[a], names[b]]) for a, b in indices]
    energies = iter(_energies(potential, structures))
    lone = {e: next(energies) for e in potential.elements}
    whole = [next(energies) - sum(lone[e] for e in names) for names in symbols]
    for energy, names, indices in zip(whole, symbols, pairs, strict=True):
        parts = np.array([next(energies) - lone[names[a]] - lone[names[b]] for a, b in indices])
        difference = energy - parts.sum()
        if not abs(difference) <= TOLERANCE * (1.0 + abs(energy) + np.abs(parts).sum()):
            raise ConfigError(
                f"{name} is not a sum over pairs: the energy of {len(names)} atoms differs by {difference:.3g} "
                "eV from that "
                "of their pairs; use jaxff.lammps.pair_python.ManyBody"
            )


def _spread(generator: np.random.Generator, n_atoms: int, shortest: float, longest: float) -> np.ndarray:
    """Random positions whose distances are all within the bounds."""
    while True:
        positions = generator.uniform(-0.5 * longest, 0.5 * longest, (n_atoms, 3))
        r = np.linalg.norm(positions[:, None] - positions, axis=-1)[np.triu_indices(n_atoms, 1)]
        if r.min() > shortest and r.max() < longest:
            return positions


def _energies(potential: Potential, structures: list[tuple[np.ndarray, list[str]]]) -> np.ndarray:
    """Energy of each structure, from one evaluation of them all, far apart."""
    apart = np.array([10.0 * potential.cutoff, 0.0, 0.0])
    positions = np.concatenate([r + n * apart for n, (r, _) in enumerate(structures)])
    symbols = [symbol for _, names in structures for symbol in names]
    energies = potential.evaluate(positions, np.zeros((3, 3)), False, symbols)["energies"]
    starts = np.cumsum([0] + [len(names) for _, names in structures[:-1]])
    return np.add.reduceat(energies, starts)


class PairTable:
    """Energy V(r) of a pair of elements, in eV relative to the two atoms alone, and its force.

    Args:
        potential: a sum over pairs.
        first, second: indices into its elements.
    """

    def __init__(self, potential: Potential, first: int, second: int):
        import jax

        from jax_models.neighborhood import Neighborhood

        self.cutoff = potential.cutoff
        n = int(np.ceil((self.cutoff - SHORTEST) / SPACING)) + 1
        r = np.linspace(SHORTEST, self.cutoff * (1.0 - 1e-12), n)  # the cutoff itself is outside
        self.spacing = r[1] - r[0]
        # Each atom of each dimer is a centre with one neighbour: no dimer sees another.
        vectors = np.zeros((2 * n, 1, 3))
        vectors[:, 0, 0] = np.concatenate([r, r])
        species = np.repeat(np.array([first, second], np.int32), n)
        other = np.repeat(np.array([second, first], np.int32), n)[:, None]
        lone = Neighborhood(
            np.ones((2, 1, 3)), np.array([first, second], np.int32), np.zeros((2, 1), np.int32), np.zeros((2, 1), bool)
        )
        with jax.enable_x64(True):
            function = potential.compiled()
            energies, gradient = function(vectors, species, other, np.ones((2 * n, 1), bool))
            alone, _ = function(*lone[:4])
        pair = np.asarray(energies).reshape(2, n).sum(axis=0) - np.asarray(alone).sum()
        slope = np.asarray(gradient)[:, 0, 0].reshape(2, n).sum(axis=0)
        self._values: list[float] = pair.tolist()
        self._slopes: list[float] = (slope * self.spacing).tolist()

    def __call__(self, r: float) -> tuple[float, float]:
        """V (eV) and -dV/dr / r (eV/Å²), the derivative of the same cubic, at the distance ``r`` (Å).

        Raises:
            StructureError: ``r`` is below the first knot.
        """
        if r >= self.cutoff:
            return 0.0, 0.0
        if not r >= SHORTEST:
            raise StructureError(f"two atoms are {r:.3g} Å apart; pairs are tabulated from {SHORTEST} Å on")
        t = (r - SHORTEST) / self.spacing
        k = min(int(t), len(self._values) - 2)
        t -= k
        v0, v1, s0, s1 = self._values[k], self._values[k + 1], self._slopes[k], self._slopes[k + 1]
        a, b = 3.0 * (v1 - v0) - 2.0 * s0 - s1, 2.0 * (v0 - v1) + s0 + s1
        energy = v0 + t * (s0 + t * (a + t * b))
        slope = (s0 + t * (2.0 * a + t * 3.0 * b)) / self.spacing
        return energy, -slope / r
