"""A potential on a flat list of neighbour pairs, as ML-IAP keeps it, without a host in between: JAX takes the arrays
where they are."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Int

from jax_models.neighborhood import Neighborhood, bucket
from jaxff.systems.evaluator import Evaluator


class PairListModel:
    """Evaluates pair lists; sizes come in buckets and only grow, so that a run compiles a handful of times."""

    def __init__(self, evaluator: Evaluator):
        import jax

        self.evaluator = evaluator
        self.compilations = 0
        self._function = jax.jit(
            functools.partial(_evaluate, evaluator.potential, evaluator.dtype), static_argnums=(0, 1)
        )
        self._sizes = {"pairs": 0, "all": 0, "width": 0}

    def evaluate(
        self,
        arrays: Any,
        vectors: Float[Any, "P 3"],
        pair_i: Int[Any, " P"],
        pair_j: Int[Any, " P"],
        centers: Int[Any, " N"],
        elements: Int[Any, " A"],
    ) -> tuple[Float[Any, " N"], float, Float[Any, "P 3"]]:
        """Energy of each centre (eV), their sum, and dE/dvectors (eV/Å), all float64.

        The sum is NaN where a force is not finite or a pair has no length.

        Args:
            arrays: the module of the arrays, numpy or cupy; results are its arrays too, contiguous and writable.
            vectors: r_j - r_i of each pair in Å, the pairs of one centre one after the other.
            pair_i, pair_j: atoms of each pair. A pair whose i is not a centre has no force.
            centers: atoms that have an energy.
            elements: index into the potential's elements of every atom, -1 for one it does not see.
        """
        import jax

        n_pairs, n_centers = len(vectors), len(centers)
        block = self.evaluator.block_size(n_centers)
        width = int(arrays.bincount(pair_i).max()) if n_pairs else 1
        for name, size, multiple in (("pairs", n_pairs, 16), ("all", len(elements), 16), ("width", width, 4)):
            if size > self._sizes[name] or size < 0.5 * self._sizes[name]:
                self._sizes[name] = bucket(size, multiple)
        self._sizes["centers"] = math.ceil(n_centers / block) * block
        padded = [
            _padded(arrays, array, self._sizes[name], dtype)
            for array, name, dtype in (
                (vectors, "pairs", "float64"), (pair_i, "pairs", "int32"), (pair_j, "pairs", "int32"),
                (centers, "centers", "int32"), (elements, "all", "int32"),
            )
        ]  # fmt: skip
        with jax.enable_x64(True), jax.default_device(self.evaluator.device):
            if arrays is not np:
                padded = [jax.dlpack.from_dlpack(array) for array in padded]
            energies, gradient, total = self._function(self._sizes["width"], block, *padded, n_pairs, n_centers)
            total = float(total)
        # JAX says it only here, and its stubs not at all.
        self.compilations = self._function._cache_size()  # type: ignore[attr-defined]
        if arrays is np:
            return np.array(np.asarray(energies)[:n_centers]), total, np.array(np.asarray(gradient)[:n_pairs])
        jax.block_until_ready((energies, gradient))
        return arrays.from_dlpack(energies)[:n_centers], total, arrays.from_dlpack(gradient)[:n_pairs]


def _padded(arrays: Any, array: Any, size: int, dtype: str) -> Any:
    result = arrays.zeros((size, *array.shape[1:]), dtype)
    result[: len(array)] = array
    return result


def _evaluate(
    potential: Any, dtype: Any, width: int, block: int, vectors: Array, pair_i: Array, pair_j: Array, centers: Array,
    elements: Array, n_pairs: Array, n_centers: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Fill the dense Neighborhood from the list, evaluate it, and take the list's entries of the gradient."""
    import jax
    import jax.numpy as jnp

    from jax_models.derivatives import energies_and_gradient

    n_rows, n_all, index = len(centers), len(elements), jnp.arange(len(pair_i))
    rows = jnp.arange(n_rows)
    used = rows < n_centers
    row_of = jnp.full(n_all, n_rows).at[jnp.where(used, centers, n_all)].set(rows, mode="drop")
    row = jnp.where(index < n_pairs, row_of[pair_i], n_rows)
    first = jnp.concatenate([jnp.ones(1, bool), pair_i[1:] != pair_i[:-1]])
    column = index - jax.lax.cummax(jnp.where(first, index, 0))
    seen = (elements[pair_j] >= 0) & (row < n_rows)

    species = jnp.where(used, jnp.maximum(elements[centers], 0), 0)
    neighborhood = Neighborhood(
        jnp.ones((n_rows, width, 3), dtype).at[row, column].set(vectors.astype(dtype), mode="drop"),
        species,
        jnp.zeros((n_rows, width), jnp.int32).at[row, column].set(jnp.maximum(elements[pair_j], 0), mode="drop"),
        jnp.zeros((n_rows, width), bool).at[row, column].set(seen, mode="drop"),
    )
    of_block = functools.partial(energies_and_gradient, potential.energies)
    if n_rows > block:
        # One block after the other: a CPU's temporaries stay in its cache, a GPU's in its memory.
        blocks = jax.tree.map(lambda leaf: leaf.reshape(n_rows // block, block, *leaf.shape[1:]), neighborhood)
        energies, gradient = jax.lax.map(of_block, blocks)
        energies, gradient = energies.reshape(n_rows), gradient.reshape(n_rows, width, 3)
    else:
        energies, gradient = of_block(neighborhood)
    energies = energies.astype(jnp.float64) + jnp.asarray(potential.reference_energies)[species]
    energies = jnp.where(used & (elements[centers] >= 0), energies, 0.0)
    pair_gradient = gradient.astype(jnp.float64).at[row, column].get(mode="fill", fill_value=0.0)
    pair_gradient = jnp.where(seen[:, None], pair_gradient, 0.0)
    apart = jnp.all(jnp.any(vectors != 0.0, axis=1) | ~seen)
    total = jnp.where(apart & jnp.isfinite(pair_gradient).all(), energies.sum(), jnp.nan)
    return energies, pair_gradient, total
