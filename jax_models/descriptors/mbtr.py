"""Local many-body tensor representation (Huo, Rupp, Mach. Learn.: Sci. Technol. 3, 045017; DScribe's LMBTR)."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_models.descriptors.mbtr_terms import Term, broadened, checked_term, pair_values, triple_values
from jax_models.errors import ConfigError
from jax_models.neighborhood import Neighborhood

DEFAULT_GEOMETRY = ({"function": "inverse_distance"}, {"function": "cosine"})
DEFAULT_GRID = ({"min": 0.1, "max": 0.9, "sigma": 0.03, "n": 24}, {"min": -1.0, "max": 1.0, "sigma": 0.12, "n": 16})
DEFAULT_WEIGHTING = ({"function": "exp", "scale": 0.4}, {"function": "exp", "scale": 0.3})


class MBTR(eqx.Module):
    """Features [N, F]: distributions of distances (k = 2) and angles (k = 3) in which the centre takes part.

    Parameters are DScribe's; each of the three may be one dictionary, or a list of them for several terms, whose
    features follow each other. Order within a term, n grid points a block: k = 2, one block for each element of the
    neighbour; k = 3, the centre in the middle, one for each pair of elements z <= z' of the ends; then the centre at an
    end, one for each (element in the middle, element at the other end). DScribe has the same blocks in the same order,
    and between them those of its pseudo-element X with itself, which are always zero and left out here.

    A weighting with "threshold" or "r_cut" ends abruptly, or as DScribe's does. Without them (the default) neighbours
    fade out at the cutoff by (1 - (r/cutoff)^2)^3, as a potential needs.

    Args:
        elements: number of elements.
        cutoff: Å.
        geometry: ``{"function": f}``: "distance", "inverse_distance" (k = 2), "angle" (degrees) or "cosine" (k = 3).
        grid: ``{"min", "max", "sigma", "n"}``.
        weighting: ``{"function": "exp", "scale" (1/Å), "threshold"}``, "unity", "inverse_square" (k = 2) or
            "smooth_cutoff" (k = 3).
        normalize_gaussians: Gaussians of unit area; else of unit height.
        normalization: "none", or "l2" (each centre's features to unit length).

    Raises:
        ConfigError: a setting is missing, unknown or outside its range, or the grid too coarse for its Gaussians.

    Example:
        >>> MBTR(1, 5.0).n_features
        56
    """

    elements: int = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    terms: tuple[Term, ...] = eqx.field(static=True)
    normalize_gaussians: bool = eqx.field(static=True)
    normalization: str = eqx.field(static=True)

    defaults: ClassVar[dict] = {
        "geometry": DEFAULT_GEOMETRY, "grid": DEFAULT_GRID, "weighting": DEFAULT_WEIGHTING,
        "normalize_gaussians": True, "normalization": "none",
    }  # fmt: skip

    def __init__(
        self,
        elements: int,
        cutoff: float,
        *,
        geometry: Any = DEFAULT_GEOMETRY,
        grid: Any = DEFAULT_GRID,
        weighting: Any = DEFAULT_WEIGHTING,
        normalize_gaussians: bool = True,
        normalization: str = "none",
        key: Array | None = None,
    ):
        self.terms = checked_terms(geometry, grid, weighting)
        if any(term.degree == 1 for term in self.terms):
            raise ConfigError("mbtr: a local representation has no atomic_number term; the global one has")
        if normalization not in ("none", "l2"):
            raise ConfigError(f"mbtr: normalization is {normalization!r}; choose from none, l2")
        self.elements, self.cutoff = elements, float(cutoff)
        self.normalize_gaussians, self.normalization = bool(normalize_gaussians), normalization

    @staticmethod
    def reference_settings(r_cut: float, settings: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        """Cutoff and settings that give DScribe's features: its weightings say how far they reach, else ``r_cut``."""
        given = {name: settings.get(name, MBTR.defaults[name]) for name in ("geometry", "grid", "weighting")}
        reaches = [term.reach for term in checked_terms(**given)]
        return (max(reaches) if min(reaches) > 0 else max(r_cut, *reaches)), settings

    @property
    def n_features(self) -> int:
        s = self.elements
        return sum(term.n * (s if term.degree == 2 else s * (s + 1) // 2 + s * s) for term in self.terms)

    def __call__(self, neighborhood: Neighborhood) -> Float[Array, "N F"]:
        kinds = (neighborhood.neighbor_species[..., None] == jnp.arange(self.elements)).astype(
            neighborhood.vectors.dtype
        )
        n = len(neighborhood.vectors)
        features = []
        for term in self.terms:
            if term.degree == 2:
                blocks = pairs_by_element(term, neighborhood, kinds, self.cutoff, self.normalize_gaussians)
                features.append(blocks.transpose(1, 2, 0).reshape(n, -1))
            else:
                middle = triples_by_element(term, neighborhood, kinds, self.cutoff, self.normalize_gaussians)
                features.append(unordered(middle).transpose(2, 1, 0).reshape(n, -1))
                ends = triples_by_element(
                    term, neighborhood, kinds, self.cutoff, self.normalize_gaussians, middle=False
                )
                features.append(ends.transpose(1, 2, 3, 0).reshape(n, -1))
        result = jnp.concatenate(features, axis=1)
        if self.normalization == "l2":
            result = result * (1.0 / jnp.sqrt(jnp.sum(result * result, axis=1, keepdims=True) + 1e-30))
        return result


def checked_terms(geometry: Any, grid: Any, weighting: Any) -> tuple[Term, ...]:
    """Terms from one set of dictionaries, or from lists of them.

    Raises:
        ConfigError: lists of different lengths, or a setting that cannot be.
    """
    lists = [list(part) if isinstance(part, list | tuple) else [part] for part in (geometry, grid, weighting)]
    if len({len(part) for part in lists}) > 1 or not lists[0]:
        lengths = ", ".join(str(len(part)) for part in lists)
        raise ConfigError(f"mbtr: geometry, grid and weighting describe {lengths} terms; give each of them as many")
    return tuple(checked_term(*parts) for parts in zip(*lists, strict=True))


def pairs_by_element(
    term: Term, neighborhood: Neighborhood, kinds, cutoff: float, normalize: bool
) -> Float[Array, "n N S"]:
    """Distribution of distances to the neighbours of each element."""
    values, weights = pair_values(term, neighborhood, cutoff)
    return broadened(term, values, weights, lambda w: jnp.einsum("nk,nks->ns", w, kinds), normalize)


def triples_by_element(
    term: Term, neighborhood: Neighborhood, kinds, cutoff: float, normalize: bool, middle: bool = True
) -> Float[Array, "n N S S"]:
    """Distribution of angles for each (element of j, element of k); see `triple_values`."""
    values, weights = triple_values(term, neighborhood, cutoff, middle)

    def collect(w):
        return jnp.einsum("njk,njs,nkt->nst", w, kinds, kinds)

    return broadened(term, values, weights, collect, normalize)


def unordered(blocks: Float[Array, "n N S S"]) -> Float[Array, "n P N"]:
    """Both orders of a pair of elements added, z <= z'."""
    first, second = np.triu_indices(blocks.shape[-1])
    both = blocks + blocks.swapaxes(2, 3)
    rows = [both[:, :, a, b] * (1.0 if a != b else 0.5) for a, b in zip(first, second, strict=True)]
    return jnp.stack(rows, axis=1)
