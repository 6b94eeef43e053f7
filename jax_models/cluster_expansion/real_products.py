"""Real parts of sums of complex products, as sums of real products: like terms gathered, common beginnings shared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

CANCELLED = 1e-13
"""Of the sum of absolute values: like terms whose sum is below this have cancelled."""


@dataclass(frozen=True)
class Products:
    """Products of densities level by level: entry t of a level is entry ``parents[t]`` of the level before, times
    density ``factors[t]``. The first level are the densities themselves."""

    parents: list[Int[np.ndarray, " T"]]
    factors: list[Int[np.ndarray, " T"]]
    coefficients: list[Float[np.ndarray, "R T"]]
    """Of every level, the first included: what each product adds to each of R results."""


class Terms:
    """Gathers terms sum c prod A[mu, n, l, m] of complex densities with the phase of Condon and Shortley.

    Densities are numbered ((mu * n_max + n) * (l_max + 1)^2 + l^2 + l + m); the real ones are
    ``basis.angular.spherical_harmonics`` in the place of Y_lm.
    """

    def __init__(self, n_results: int, n_radial: int, l_max: int):
        self.n_results, self.n_radial, self.l_max = n_results, n_radial, l_max
        self.found: dict[int, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}

    def add(
        self,
        result: int,
        mus: Int[np.ndarray, " r"],
        ns: Int[np.ndarray, " r"],
        ls: Int[np.ndarray, " r"],
        ms: Int[np.ndarray, "M r"],
        values: Float[np.ndarray, "M P"],
    ) -> None:
        """The real part of sum_M ``values`` prod_r A, added to the results ``result`` ... ``result`` + P - 1."""
        rank = len(ls)
        base = (mus * self.n_radial + ns) * (self.l_max + 1) ** 2 + ls**2 + ls
        # PACE's harmonics lack the usual 1/sqrt(4 pi): N = sqrt(2l + 1).
        # Y_lm = N (-1)^m (R_m + i R_-m)/sqrt 2 for m > 0, and the complex conjugate times (-1)^m for -m.
        norm = np.sqrt(2 * ls + 1) * np.where(ms, np.sqrt(0.5), 1.0) * np.where(ms > 0, (-1.0) ** ms, 1.0)
        for choice in np.ndindex(*[2] * rank):
            imaginary = np.array(choice)
            if imaginary.sum() % 2:
                continue  # a product of an odd number of imaginary factors is no part of the real part
            kept = ~((ms == 0) & (imaginary == 1)).any(axis=1)
            if not kept.any():
                continue
            own = ms[kept]
            sign = np.prod(np.where((own < 0) & (imaginary == 1), -1.0, 1.0), axis=1) * (-1.0) ** (imaginary.sum() // 2)
            factors = np.sort(base + np.where(imaginary == 1, -np.abs(own), np.abs(own)), axis=1)
            weights = values[kept] * (np.prod(norm[kept], axis=1) * sign)[:, None]
            results = np.full(len(factors), result)
            self.found.setdefault(rank, []).append((results, factors, weights))

    def products(self, n_densities: int) -> Products:
        """What was added, as shared products."""
        ranks = sorted(self.found)
        highest = max(ranks, default=1)
        unique, sums = {}, {}
        for rank in ranks:
            results, factors, weights = (np.concatenate(parts) for parts in zip(*self.found[rank], strict=True))
            unique[rank], place = np.unique(factors, axis=0, return_inverse=True)
            total, size = np.zeros((2, self.n_results, len(unique[rank])))
            for p in range(weights.shape[1]):
                np.add.at(total, (results + p, place.ravel()), weights[:, p])
                np.add.at(size, (results + p, place.ravel()), np.abs(weights[:, p]))
            total[np.abs(total) < CANCELLED * size] = 0.0
            present = total.any(axis=0)
            unique[rank], sums[rank] = unique[rank][present], total[:, present]
        levels = [np.arange(n_densities)[:, None]]
        for length in range(2, highest + 1):
            beginnings = [unique[rank][:, :length] for rank in ranks if rank >= length and len(unique[rank])]
            levels.append(np.unique(np.concatenate(beginnings), axis=0) if beginnings else np.zeros((0, length), int))
        parents, factors_of, coefficients = [], [], []
        for length, level in enumerate(levels, start=1):
            if length > 1:
                parents.append(_places(levels[length - 2], level[:, :-1]))
                factors_of.append(level[:, -1].astype(np.int32))
            coefficient = np.zeros((self.n_results, len(level)))
            if length in sums:
                coefficient[:, _places(level, unique[length])] = sums[length]
            coefficients.append(coefficient)
        return Products(parents, factors_of, coefficients)


def _places(level: Int[np.ndarray, "T r"], wanted: Int[np.ndarray, "W r"]) -> Int[np.ndarray, " W"]:
    """Where each of the ``wanted`` rows stands in ``level``, which is sorted and holds them all."""
    if not len(wanted):
        return np.zeros(0, np.int32)
    _, inverse = np.unique(np.concatenate([level, wanted]), axis=0, return_inverse=True)
    return inverse.ravel()[len(level) :].astype(np.int32)
