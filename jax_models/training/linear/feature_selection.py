"""Feature selection for linear models: which few of many parameters predict what was not fitted.

Each method gives an order in which parameters enter; a ridge fit to the first k of them is a model for every k, and
cross-validation says which k, with which ridge strength, predicts left-out structures best (Sinz et al., J. Chem. Phys.
153,
084109: greedy orthogonal least squares, randomised sub-samples, nested cross-validation).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from jax_models.errors import ConfigError
from jax_models.training.linear.least_squares import FOLDS, STRENGTHS, Ridge, folds_of, loss, triangle

Rows = Float[np.ndarray, "R P+1"]
Order = Callable[[Rows, Int[np.ndarray, " B"], int], Int[np.ndarray, " N"]]

TRIED = STRENGTHS[4:25:2]
"""1e-12 to 1e-2, ten apart: each is tried for every size and fold."""
SUBSAMPLES = 40
"""Random halves of the data that stability selection looks at."""


def orthogonal_least_squares(rows: Rows, kept: Int[np.ndarray, " B"], n: int) -> Int[np.ndarray, " N"]:
    """Greedy: each time the parameter with which the fit, all those before refitted, loses most of its error.

    Args:
        rows: equations, the target as last column.
        kept: parameters that enter first, whatever they bring (biases).
        n: how many to order.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 6))
        >>> rows = np.column_stack([x, 3 * x[:, 4] - x[:, 1]])
        >>> orthogonal_least_squares(rows, np.array([], int), 2).tolist()
        [4, 1]
    """
    columns, target = rows[:, :-1].copy(), rows[:, -1].copy()
    original = np.maximum((columns**2).sum(axis=0), 1e-300)
    chosen: list[int] = []
    free = np.ones(columns.shape[1], bool)
    for step in range(min(n, columns.shape[1], len(rows))):
        remaining = (columns**2).sum(axis=0)
        # What is left of a column that those chosen explain is rounding, and fits anything.
        usable = free & (remaining > 1e-10 * original)
        if not usable.any():
            break
        gain = np.where(usable, (target @ columns) ** 2 / np.maximum(remaining, 1e-300), -1.0)
        best = int(kept[step]) if step < len(kept) else int(np.argmax(gain))
        chosen.append(best)
        free[best] = False
        if remaining[best] > 1e-10 * original[best]:
            direction = columns[:, best] / np.sqrt(remaining[best])
            target -= direction * (direction @ target)
            columns -= np.outer(direction, direction @ columns)
    return np.array(chosen)


def matching_pursuit(rows: Rows, kept: Int[np.ndarray, " B"], n: int) -> Int[np.ndarray, " N"]:
    """Orthogonal matching pursuit: each time the parameter most correlated with what is left (scikit-learn)."""
    from sklearn.linear_model import orthogonal_mp

    columns, target, others = _normalised(rows, kept)
    most = min(n - len(kept), len(others), len(rows) - 1)
    with warnings.catch_warnings():
        # Of columns that depend on each other it takes as many as it can, and warns; that is what is wanted.
        warnings.simplefilter("ignore")
        path = orthogonal_mp(columns, target, n_nonzero_coefs=max(most, 1), return_path=True)
    return _entered(path.reshape(len(others), -1), others, kept)


def lasso(rows: Rows, kept: Int[np.ndarray, " B"], n: int) -> Int[np.ndarray, " N"]:
    """The order in which parameters become non-zero as the LASSO's penalty falls (least-angle regression,
    scikit-learn)."""
    from sklearn.linear_model import lars_path

    columns, target, others = _normalised(rows, kept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        _, _, path = lars_path(columns, target, method="lasso", max_iter=4 * n)
    return _entered(path, others, kept)[:n]


def _normalised(rows: Rows, kept: Int[np.ndarray, " B"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns other than ``kept``, which are projected out, each of norm one, and the target."""
    basis, _ = np.linalg.qr(rows[:, kept])
    others = np.setdiff1d(np.arange(rows.shape[1] - 1), kept)
    left = rows - basis @ (basis.T @ rows)
    norms = np.linalg.norm(left[:, others], axis=0)
    others, norms = others[norms > 1e-10 * norms.max()], norms[norms > 1e-10 * norms.max()]
    return left[:, others] / norms, left[:, -1], others


def _entered(
    path: Float[np.ndarray, "F S"], others: Int[np.ndarray, " F"], kept: Int[np.ndarray, " B"]
) -> Int[np.ndarray, " N"]:
    nonzero = path != 0
    first = np.where(nonzero.any(axis=1), nonzero.argmax(axis=1), path.shape[1])
    order = np.argsort(first, kind="stable")
    return np.concatenate([kept, others[order[first[order] < path.shape[1]]]])


METHODS: dict[str, Order] = {"ols": orthogonal_least_squares, "omp": matching_pursuit, "lasso": lasso}
"""``stability`` besides: see `stable_order`."""


@dataclass(frozen=True, eq=False)
class Selection:
    """A selected model, and how it came about."""

    parameters: Float[np.ndarray, " P"]
    """Zero but for those selected."""
    order: Int[np.ndarray, " N"]
    """Parameters in the order they enter; the first ``size`` are selected."""
    size: int
    strength: float
    path: list[dict[str, float]]
    """For each size tried: ``features``, ``error`` (root of the summed squares of left-out structures' equations), its
    standard error ``spread`` over the folds, ``training_error`` and the ``ridge`` strength that did best."""

    @property
    def selected(self) -> Int[np.ndarray, " K"]:
        return self.order[: self.size]


def select(
    parts: Sequence[Rows],
    kinds: Sequence[tuple[str, float]],
    kept: Sequence[int] = (),
    *,
    method: str = "ols",
    most: int = 200,
    seed: int = 0,
) -> Selection:
    """Order the parameters, and choose how many by cross-validation over structures.

    Args:
        parts: each structure's weighted equations, the target as last column.
        kinds: family and energy of each structure, which folds are made by; see `folds_of`.
        kept: parameters that are always in (biases).
        method: ``ols``, ``omp``, ``lasso`` or ``stability``.
        most: largest number of parameters.
        seed: of sub-samples.

    Raises:
        ConfigError: an unknown method, or fewer than two structures.
    """
    order_of = ordering(method, seed)
    if len(parts) < 2:
        raise ConfigError(f"features are selected on structures that are left out in turn: {len(parts)} is too few")
    biases = np.array(kept, int)
    folds = folds_of(kinds, min(FOLDS, len(parts)))
    sizes = sizes_up_to(min(most, parts[0].shape[1] - 1), len(biases))
    n_folds = int(folds.max()) + 1
    found = np.full((n_folds, len(sizes), len(TRIED)), np.inf)
    counts = np.zeros(n_folds)
    for fold in range(n_folds):
        train = [p for p, f in zip(parts, folds, strict=True) if f != fold]
        held_out = np.concatenate([p for p, f in zip(parts, folds, strict=True) if f == fold])
        counts[fold] = len(held_out)
        found[fold] = errors_along(train, held_out, order_of, biases, sizes)
    with np.errstate(invalid="ignore"):
        mean = np.sqrt(found.sum(axis=0))
        spread = np.sqrt(found * counts.sum() / counts[:, None, None]).std(axis=0) / np.sqrt(n_folds)
    complete = triangle(parts, parts[0].shape[1])
    order = order_of(parts, biases, int(sizes[-1]))
    best_strength = mean.argmin(axis=1)
    path: list[dict[str, Any]] = []
    for number, size in enumerate(sizes[sizes <= len(order)]):
        s = best_strength[number]
        fitted = fit(complete, order[:size], TRIED[s])
        path.append(
            {
                "features": int(size),
                "error": float(mean[number, s]),
                "spread": float(spread[number, s]),
                "training_error": float(np.sqrt(loss(complete, fitted))),
                "ridge": float(TRIED[s]),
            }
        )
    best = min((record for record in path if np.isfinite(record["error"])), key=lambda record: record["error"])
    # Within one standard error of the best nothing tells models apart but their size.
    chosen = next(r for r in path if r["error"] <= best["error"] + best["spread"])
    parameters = fit(complete, order[: chosen["features"]], chosen["ridge"])
    return Selection(parameters, order, chosen["features"], chosen["ridge"], path)


def nested_error(
    parts: Sequence[Rows],
    kinds: Sequence[tuple[str, float]],
    kept: Sequence[int] = (),
    *,
    folds: int = 5,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """The error of the whole procedure, selection and choice of size included, on structures it never saw.

    Returns:
        ``error`` (as in `Selection.path`), each outer fold's ``errors`` and the ``features`` it chose.
    """
    outer = folds_of(kinds, min(folds, len(parts)))
    squares, sizes, counts = [], [], []
    for fold in range(int(outer.max()) + 1):
        inner = [n for n, f in enumerate(outer) if f != fold]
        chosen = select([parts[n] for n in inner], [kinds[n] for n in inner], kept, seed=seed, **options)
        held_out = np.concatenate([parts[n] for n in np.flatnonzero(outer == fold).tolist()])
        squares.append(loss(held_out, chosen.parameters))
        sizes.append(chosen.size)
        counts.append(len(held_out))
    errors = np.sqrt(np.array(squares) * sum(counts) / counts)
    return {"error": float(np.sqrt(sum(squares))), "errors": errors.tolist(), "features": sizes}


def ordering(method: str, seed: int) -> Callable[[Sequence[Rows], Int[np.ndarray, " B"], int], Int[np.ndarray, " N"]]:
    """The function that orders parameters from structures' equations.

    Raises:
        ConfigError: there is no such method.
    """
    if method == "stability":
        return lambda parts, kept, n: stable_order(parts, kept, n, seed)[0]
    if method not in METHODS:
        raise ConfigError(f"there is no selection method {method!r}; choose from {', '.join(METHODS)}, stability")
    return lambda parts, kept, n: METHODS[method](triangle(parts, parts[0].shape[1]), kept, n)


def stable_order(
    parts: Sequence[Rows], kept: Int[np.ndarray, " B"], n: int, seed: int = 0
) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, " P"]]:
    """Stability selection (Meinshausen, Bühlmann, J. R. Stat. Soc. B 72, 417) with greedy orthogonal least squares.

    Random halves of the structures are ordered each for itself; parameters follow by how often they are among the first
    n/2, and where that is equal by how early.

    Returns:
        The order, and the frequency of every parameter.
    """
    generator = np.random.default_rng([seed, 4])
    n_parameters = parts[0].shape[1] - 1
    times, earliness = np.zeros(n_parameters, int), np.zeros(n_parameters)
    for _ in range(SUBSAMPLES):
        half = generator.choice(len(parts), max(len(parts) // 2, 1), replace=False)
        order = orthogonal_least_squares(
            triangle([parts[i] for i in half], n_parameters + 1), kept, max(n // 2, len(kept) + 1)
        )
        times[order] += 1
        earliness[order] += 1.0 / (1.0 + np.arange(len(order)))
    frequency = times / SUBSAMPLES
    times[kept] = SUBSAMPLES + 1
    order = np.lexsort((-earliness, -times))[:n]
    return order[times[order] > 0], frequency


def sizes_up_to(most: int, least: int = 0) -> Int[np.ndarray, " S"]:
    """Numbers of parameters to try: all small ones, then about a tenth apart, above ``least``."""
    sizes = [max(least, 1)]
    while sizes[-1] < most:
        sizes.append(min(max(sizes[-1] + 1, round(1.1 * sizes[-1])), most))
    return np.array(sizes)


def errors_along(
    train: Sequence[Rows], held_out: Rows, order_of: Callable, kept: Int[np.ndarray, " B"], sizes: Int[np.ndarray, " S"]
) -> Float[np.ndarray, "S L"]:
    """Squared residuals of ``held_out`` for each size and ridge strength; infinite where the order ends before."""
    order = order_of(train, kept, int(sizes[-1]))
    rows = triangle(train, held_out.shape[1])
    result = np.full((len(sizes), len(TRIED)), np.inf)
    for number, size in enumerate(sizes[sizes <= len(order)]):
        columns = np.append(order[:size], -1)
        solutions = _ridge(rows[:, columns])
        result[number] = [loss(held_out[:, columns], solutions(strength)) for strength in TRIED]
    return result


def fit(rows: Rows, selected: Int[np.ndarray, " K"], strength: float) -> Float[np.ndarray, " P"]:
    """All parameters, those not selected zero."""
    parameters = np.zeros(rows.shape[1] - 1)
    parameters[selected] = _ridge(rows[:, np.append(selected, -1)])(strength)
    return parameters


def _ridge(rows: Rows) -> Ridge:
    # Each column counts the same: what was selected is to be used, however little it varies in the data.
    norms = np.linalg.norm(rows[:, :-1], axis=0)
    return Ridge.of(rows, np.where(norms > 0, norms, 1.0))
