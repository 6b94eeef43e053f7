"""Linear models with a smoothness prior whose strengths the data decide: Bayesian evidence instead of left-out
structures.

A few hundred energies determine a few hundred parameters only with a prior. Smooth potentials extrapolate, so a
feature's penalty grows with its radial orders and its degree (as ACEpotentials.jl does); how fast, how much less
triplets may contribute than pairs, and how strong it all is are marginalised: each setting counts by the probability it
gives to the labels (MacKay, Neural Comput. 4, 415). Linear models average exactly, so the average is one model.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from jax_models.errors import ConfigError
from jax_models.training.linear.least_squares import STRENGTHS

POWERS = (1, 2, 3)
"""Of (1 + radial orders + degree), the penalty of a feature."""
TRIPLETS = (1.0, 0.3, 0.1, 0.03)
"""How much a triplet feature may contribute, a pair feature's part being 1."""
TRIED = STRENGTHS[4:]
"""From 1e-12: what is weaker is no prior in double precision."""


@dataclass(frozen=True, eq=False)
class Setting:
    """The posterior of one prior: independent normal numbers along the right singular vectors."""

    mean: Float[np.ndarray, " P"]
    scale: Float[np.ndarray, " P"]
    singular: Float[np.ndarray, " M"]
    right: Float[np.ndarray, "M P"]
    strength: float
    noise: float


@dataclass(frozen=True, eq=False)
class Probable:
    """What the data say under all priors together."""

    parameters: Float[np.ndarray, " P"]
    """The posterior's mean."""
    log_evidence: float
    """Of the most probable setting; compares descriptors and cutoffs on the same labels, not different weights of
    them."""
    path: list[dict[str, float]]
    """For each power and part of the triplets, at its best strength: ``smoothness``, ``triplets``, ``ridge``,
    ``log_evidence`` and the ``probability`` over all strengths."""
    settings: list[Setting]
    probabilities: Float[np.ndarray, " L"]
    head: Float[np.ndarray, "B P+1"]
    """The equations that fix the biases, where the other parameters are given."""

    def draw(self, n: int, seed: int = 0) -> list[Float[np.ndarray, " P"]]:
        """Parameters from the posterior: first a setting by its probability, then parameters given that."""
        generator = np.random.default_rng([seed, 6])
        result = []
        for index in generator.choice(len(self.settings), n, p=self.probabilities):
            s = self.settings[index]
            free = generator.normal(size=len(s.scale))
            # What the data say nothing about keeps the prior's width, the rest is narrowed.
            along = s.right @ free
            free = free + ((1.0 / np.sqrt(1.0 + s.singular**2 / s.strength)) * along - along) @ s.right
            others = s.mean + s.noise / np.sqrt(s.strength) * free / s.scale
            result.append(_with_biases(others, self.head))
        return result


def most_probable(rows: Float[np.ndarray, "R P+1"], n_rows: int, names: Sequence[dict[str, Any]]) -> Probable:
    """The mean over all settings of the prior, each by its evidence.

    The labels are taken to have independent normal errors in proportion to 1/weight, of unknown size; biases have a
    flat prior.

    Args:
        rows: weighted equations, or their triangle.
        n_rows: how many equations they come from.
        names: of each parameter, biases last: ``body_order``, radial orders ``n`` and degrees ``l`` of a feature; a
            bias has none of them.

    Raises:
        ConfigError: the descriptor does not name these.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(40, 4))
        >>> rows[:, -1] = 2 * rows[:, 0] + 1e-3 * rows[:, 3]
        >>> names = [{"body_order": 2, "n": [0], "l": [0]}, {"body_order": 2, "n": [1], "l": [0]}, {"feature": None}]
        >>> bool(abs(most_probable(rows, 40, names).parameters[0] - 2) < 0.01)
        True
    """
    features = np.array([name.get("feature", 0) is not None for name in names])
    if not all("n" in names[i] and "body_order" in names[i] for i in np.flatnonzero(features).tolist()):
        raise ConfigError(
            "training.prior is smooth, but the descriptor does not name its radial orders: use power_spectrum, "
            "or prior=ridge"
        )
    # Biases first: the triangle then holds what is left without them.
    order = np.argsort(features, kind="stable")
    n_biases = int(np.sum(~features))
    # NumPy declares a pair of arrays, whatever the mode.
    factor: Any = np.linalg.qr(rows[:, np.append(order, -1)], mode="r")
    head, data = factor[:n_biases], factor[n_biases:, n_biases:]
    kinds = [names[i] for i in order[n_biases:].tolist()]
    orders = np.array([1.0 + sum(name["n"]) + max(name["l"]) for name in kinds])
    triplet = np.array([name["body_order"] > 2 for name in kinds])
    settings, logs, path, ends = [], [], [], []
    for power, part in itertools.product(POWERS, TRIPLETS):
        scale = orders**power / np.where(triplet, part, 1.0)
        found, evidence = _along_strengths(data, scale, n_rows - n_biases)
        best = int(np.argmax(evidence))
        path.append(
            {
                "smoothness": power,
                "triplets": part,
                "ridge": float(TRIED[best]),
                "log_evidence": float(evidence[best]),
            }
        )
        settings += found
        logs += evidence
        ends.append(len(logs))
    probabilities = np.exp(np.array(logs) - max(logs))
    probabilities /= probabilities.sum()
    for record, chunk in zip(path, np.split(probabilities, ends[:-1]), strict=True):
        record["probability"] = float(chunk.sum())
    mean = sum(p * s.mean for p, s in zip(probabilities, settings, strict=True))
    return Probable(_with_biases(mean, head), float(max(logs)), path, settings, probabilities, head)


def _along_strengths(
    data: Float[np.ndarray, "R P+1"], scale: Float[np.ndarray, " P"], n: int
) -> tuple[list[Setting], list[float]]:
    """Posterior and log evidence for each strength; the size of the errors is the one that makes it largest."""
    u, singular, right = np.linalg.svd(data[:, :-1] / scale, full_matrices=False)
    keep = singular > 1e-13 * singular.max()
    u, singular, right = u[:, keep], singular[keep], right[keep]
    target = data[:, -1]
    seen = u.T @ target
    rest = max(float(target @ target - seen @ seen), 0.0)
    settings, logs = [], []
    for strength in TRIED * singular.max() ** 2:
        squares = float(np.sum(seen**2 * strength / (singular**2 + strength))) + rest
        noise = np.sqrt(squares / n)
        logs.append(-n * np.log(noise) - 0.5 * float(np.sum(np.log1p(singular**2 / strength))))
        mean = (singular * seen / (singular**2 + strength)) @ right / scale
        settings.append(Setting(mean, scale, singular, right, float(strength), float(noise)))
    return settings, logs


def _with_biases(others: Float[np.ndarray, " F"], head: Float[np.ndarray, "B P+1"]) -> Float[np.ndarray, " P"]:
    n = len(head)
    # Least squares: compositions may not tell elements apart.
    biases = np.linalg.lstsq(head[:, :n], head[:, -1] - head[:, n:-1] @ others, rcond=1e-10)[0]
    return np.concatenate([others, biases])
