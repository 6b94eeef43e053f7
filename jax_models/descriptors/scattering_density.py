"""Density channels: what each element's atoms weigh in rho_c(u) = sum_k w_c(z_k) delta(u - r_k)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jax_models.descriptors.gmp import valence_electrons
from jax_models.elements import ATOMIC_NUMBERS
from jax_models.errors import ConfigError

CHANNELS = ("ones", "number", "valence", "core", "elements")


def density_channels(
    channels: Sequence[str | Mapping[str, Any]], elements: Sequence[str]
) -> tuple[tuple[str, ...], Float[np.ndarray, "C S"]]:
    """Names and weights of the channels.

    Args:
        channels: of ``ones``, ``number`` (atomic number), ``valence`` (electrons of the valence shells), ``core`` (the
            other electrons), ``elements`` (a channel for each element), or a mapping from element to weight. One whose
            weights are a multiple of an earlier one's tells nothing new and is left out.
        elements: chemical symbols.

    Raises:
        ConfigError: an unknown channel, an element without a weight, a weight that is not a number, no channel at all.

    Example:
        >>> density_channels(["ones", "elements"], ["Li", "Si"])[0]
        ('ones', 'Li', 'Si')
    """
    found: list[tuple[str, list[float]]] = []
    for channel in channels:
        if isinstance(channel, Mapping):
            found.append((",".join(f"{e}:{w:g}" for e, w in _numbers(channel).items()), _custom(channel, elements)))
        elif channel == "elements":
            found += [(e, [float(e == other) for other in elements]) for e in elements]
        else:
            found.append((channel, [_weight(channel, e) for e in elements]))
    kept: list[tuple[str, list[float]]] = []
    for name, weights in found:
        if any(weights) and not any(_parallel(weights, other) for _, other in kept):
            kept.append((name, weights))
    if not kept:
        raise ConfigError(
            f"scattering: channels is {list(channels)}; at least one must give an element a weight other than 0"
        )
    return tuple(name for name, _ in kept), np.array([weights for _, weights in kept])


def _weight(channel: Any, element: str) -> float:
    if channel not in CHANNELS:
        raise ConfigError(
            f"scattering: there is no density channel {channel!r}; choose from {', '.join(CHANNELS)}, or map "
            "elements to weights"
        )
    if channel in ("ones", "number"):
        return 1.0 if channel == "ones" else float(ATOMIC_NUMBERS[element])
    if element not in valence_electrons():
        raise ConfigError(
            f"scattering: {channel} electrons of {element} are not tabulated; give a mapping from elements to weights"
        )
    valence = valence_electrons()[element]
    return float(valence if channel == "valence" else ATOMIC_NUMBERS[element] - valence)


def _numbers(channel: Mapping[str, Any]) -> dict[str, float]:
    for element, weight in channel.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not np.isfinite(weight):
            raise ConfigError(
                f"scattering: the weight of {element} in a density channel is {weight!r}; it must be a number"
            )
    return {element: float(weight) for element, weight in channel.items()}


def _custom(channel: Mapping[str, Any], elements: Sequence[str]) -> list[float]:
    missing = [e for e in elements if e not in channel]
    if missing:
        raise ConfigError(
            f"scattering: a density channel gives no weight to {', '.join(missing)}; 0 leaves an element out"
        )
    return [float(channel[e]) for e in elements]


def _parallel(first: Sequence[float], second: Sequence[float]) -> bool:
    a, b = np.array(first), np.array(second)
    return bool(
        np.linalg.norm(a * np.linalg.norm(b) - b * np.linalg.norm(a)) < 1e-9 * np.linalg.norm(a) * np.linalg.norm(b)
    )
