"""The symmetric contraction of MACE: products of a density with itself, weighted for each element and channel."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jax_models.message_passing.symmetric_products import symmetric_products


class ProductBasis(eqx.Module):
    """B_L = sum over orders and products of w[z_i, product, channel] (A x ... x A)_L (Batatia et al., eq. 10).

    The products are linearly independent symmetric polynomials, so there are fewer than in mace-torch, and the same
    functions.
    """

    weights: list[list[Float[Array, "S P C"]]]
    """For each L, for each order."""
    l_max: int = eqx.field(static=True)

    def __init__(self, elements: int, channels: int, l_max: int, l_out: int, correlation: int, *, key: Array):
        self.l_max = l_max
        self.weights = []
        for degree in range(l_out + 1):
            sizes = [len(symmetric_products(l_max, order, degree)) for order in range(1, correlation + 1)]
            keys = jax.random.split(jax.random.fold_in(key, degree), correlation)
            self.weights.append(
                [jax.random.normal(k, (elements, n, channels)) / max(n, 1) for k, n in zip(keys, sizes, strict=True)]
            )

    def __call__(self, density: Float[Array, "N Y C"], species: Int[Array, " N"]) -> Float[Array, "N M C"]:
        components = [density[:, i] for i in range(density.shape[1])]
        products: dict[tuple[int, ...], Array] = {(i,): a for i, a in enumerate(components)}

        def product(index: tuple[int, ...]) -> Array:
            if index not in products:
                products[index] = product(index[:-1]) * components[index[-1]]
            return products[index]

        result = []
        for degree, orders in enumerate(self.weights):
            sums = [jnp.zeros_like(components[0])] * (2 * degree + 1)
            for order, weights in enumerate(orders, start=1):
                if not weights.shape[1]:
                    continue
                own = own_weights(weights, species)
                for p, polynomial in enumerate(symmetric_products(self.l_max, order, degree)):
                    for m in range(2 * degree + 1):
                        terms = [float(c[m]) * product(index) for index, c in polynomial.items() if c[m]]
                        sums[m] = sums[m] + own[:, p] * sum(terms)
            result += sums
        return jnp.stack(result, axis=1)


def own_weights(weights: Float[Array, "S *rest"], species: Int[Array, " N"]) -> Float[Array, "N *rest"]:
    """The weights of each centre's element; with one element, a single row that broadcasts."""
    if weights.shape[0] == 1:
        return weights
    return jnp.einsum("ns,s...->n...", jax.nn.one_hot(species, weights.shape[0], dtype=weights.dtype), weights)
