"""Extrapolation grade: how far an environment is from those of the training, in the model's own features."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jax_models.basis.species import select_element

DIRECTIONS = 32
"""Random directions in which distances are measured: with them atoms are ranked as with all features (AUC of large
force errors on mlearn Si, 160 features: 0.840 with 8, 0.844 with 32, 0.841 with all), at a fifth of the cost."""
RIDGE = 1e-5
"""Added to the variances of features, in units of their mean: what never varied must not count for infinitely much."""
FEW = 1e-3
"""The same for each feature an atom: few atoms say little of how features vary."""
EDGE = 0.99
"""The part of the training's atoms whose grade is below 1."""


class Grade(eqx.Module):
    """Mahalanobis distance of an atom's features from those of its element in the training, 1 at the edge of these.

    The distance is measured in random directions of the whitened space (Johnson, Lindenstrauss, 1984), so that it costs
    one small matrix product an atom. It ranks atoms like the leverage of a linear model, D-optimality's criterion.

    Example:
        >>> features = np.random.default_rng(0).normal(size=(1000, 3))
        >>> grade = Grade.of(features, np.zeros(1000, int), 1)
        >>> bool(grade(np.full((1, 3), 9.0), np.zeros(1, int))[0] > 1)
        True
    """

    projection: Float[Any, "S F D"]
    offset: Float[Any, "S D"]
    """The projection of the mean."""

    def __call__(self, features: Float[Array, "N F"], species: Int[Array, " N"]) -> Float[Array, " N"]:
        n_elements, n_features, n_directions = self.projection.shape
        # Atoms last, as in the readout: one product for all elements, then each atom's own.
        product = self.projection.swapaxes(1, 2).reshape(-1, n_features) @ jnp.asarray(features).T
        product = product.reshape(n_elements, n_directions, -1) - self.offset[..., None]
        own = select_element(product, species)
        return jnp.sqrt(jnp.sum(own * own, axis=0))

    @staticmethod
    def of(features: Float[np.ndarray, "N F"], species: Int[np.ndarray, " N"], n_elements: int, seed: int = 0) -> Grade:
        """The grade of a training with these atoms.

        Args:
            features: of all atoms, or of many.
            species: index of each atom's element; an element without atoms is measured by all of them.
            seed: of the random directions.
        """
        features, species = np.asarray(features, float), np.asarray(species)
        n_features = features.shape[1]
        n_directions = min(DIRECTIONS, n_features)
        generator = np.random.default_rng(seed)
        # Orthonormal, and as long as all of the space on average.
        random = np.linalg.qr(generator.normal(size=(n_features, n_directions)))[0]
        random *= np.sqrt(n_features / n_directions)
        projections, offsets = np.zeros((n_elements, n_features, n_directions)), np.zeros((n_elements, n_directions))
        for element in range(n_elements):
            own = features[species == element]
            mean, whitening = _whitened(own if len(own) else features)
            projection = whitening @ random
            distances = np.linalg.norm((own if len(own) else features) @ projection - mean @ projection, axis=1)
            # A perfect crystal has one environment: then a distance of one mean deviation is the edge.
            edge = max(float(np.quantile(distances, EDGE)), 1.0)
            projections[element], offsets[element] = projection / edge, mean @ projection / edge
        return Grade(projections, offsets)


def _whitened(features: Float[np.ndarray, "N F"]) -> tuple[Float[np.ndarray, " F"], Float[np.ndarray, "F F"]]:
    """Mean, and the matrix that makes deviations from it uncorrelated and of unit variance."""
    n, n_features = features.shape
    mean = features.mean(axis=0)
    variances, axes = np.linalg.eigh((features - mean).T @ (features - mean) / n)
    # Features are normalised to a variance of about one; less than a hundredth of that on average is one environment.
    scale = max(float(variances.mean()), 0.01)
    ridge = (RIDGE + FEW * n_features / n) * scale
    return mean, axes / np.sqrt(np.maximum(variances, 0.0) + ridge)
