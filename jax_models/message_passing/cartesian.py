"""3x3 matrices by their parts: a multiple of the identity, an antisymmetric and a symmetric traceless matrix.

A matrix is nine numbers, 1 + 3 + 5, on the axis before the channels: its coefficients in matrices that are orthonormal
(the sum of the products of their elements is 0 or 1). A rotation mixes numbers of one part only.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PARTS = (1, 3, 5)
_SLICES = (slice(0, 1), slice(1, 4), slice(4, 9))


def _basis() -> Float[np.ndarray, "9 3 3"]:
    skew = [np.cross(np.eye(3), axis) for axis in np.eye(3)]
    pairs = [np.outer(*np.eye(3)[list(pair)]) for pair in ((0, 1), (0, 2), (1, 2))]
    basis = [np.eye(3), *skew, np.diag([1, -1, 0]), np.diag([-1, -1, 2]), *(pair + pair.T for pair in pairs)]
    return np.array([matrix / np.linalg.norm(matrix) for matrix in basis])


BASIS = _basis()


def of_direction(unit: Float[Array, "*n 3"]) -> Float[Array, "*n 9"]:
    """1, the antisymmetric matrix of a unit vector u and u u^T - 1/3, each a part."""
    x, y, z = unit[..., 0], unit[..., 1], unit[..., 2]
    symmetric = (
        np.sqrt(1 / 2) * (x * x - y * y),
        np.sqrt(1 / 6) * (2.0 * z * z - x * x - y * y),
        *(np.sqrt(2.0) * pair for pair in (x * y, x * z, y * z)),
    )
    return jnp.stack((jnp.full_like(x, np.sqrt(3.0)), *(np.sqrt(2.0) * u for u in (x, y, z)), *symmetric), axis=-1)


def norms(x: Float[Array, "N 9 C"]) -> Float[Array, "N 3 C"]:
    """Sum of the squares of the matrix elements of each part."""
    return jnp.stack([jnp.sum(x[:, part] ** 2, axis=1) for part in _SLICES], axis=1)


def mix(x: Float[Array, "N 9 C"], weights: list[Float[Array, "C Out"]]) -> Float[Array, "N 9 Out"]:
    """Channels mixed, by a matrix for each part."""
    return jnp.concatenate([x[:, part] @ w for part, w in zip(_SLICES, weights, strict=True)], axis=1)


def scale(factors: Float[Array, "N 3 C"], x: Float[Array, "N 9 C"]) -> Float[Array, "N 9 C"]:
    """Each part times its factor."""
    return jnp.concatenate([x[:, part] * factors[:, p : p + 1] for p, part in enumerate(_SLICES)], axis=1)


def to_matrix(x: Float[Array, "N 9 C"]) -> Float[Array, "N 3 3 C"]:
    """The nine elements."""
    return _changed(BASIS.reshape(9, 9).T, x).reshape(x.shape[0], 3, 3, -1)


def from_matrix(matrix: Float[Array, "N 3 3 C"]) -> Float[Array, "N 9 C"]:
    """The nine numbers of a matrix."""
    return _changed(BASIS.reshape(9, 9), matrix.reshape(matrix.shape[0], 9, -1))


def _changed(change: Float[np.ndarray, "9 9"], x: Float[Array, "N 9 C"]) -> Float[Array, "N 9 C"]:
    # As one small product an atom: XLA would transpose the channels for a large one.
    changes = jnp.broadcast_to(jnp.asarray(change, x.dtype), (x.shape[0], 9, 9))
    return jnp.matmul(changes, x, precision=jax.lax.Precision.HIGHEST)


@jax.custom_vjp
def matmul(a: Float[Array, "N 3 3 C"], b: Float[Array, "N 3 3 C"]) -> Float[Array, "N 3 3 C"]:
    """a b, channel by channel."""
    first, second, third = (a[:, :, k, None] * b[:, None, k] for k in range(3))
    return first + second + third


def _matmul_backward(residuals, cotangent):
    a, b = residuals
    return matmul(cotangent, b.swapaxes(1, 2)), matmul(a.swapaxes(1, 2), cotangent)


matmul.defvjp(lambda a, b: (matmul(a, b), (a, b)), _matmul_backward)


def anticommutator(a: Float[Array, "N 9 C"], b: Float[Array, "N 9 C"]) -> Float[Array, "N 9 C"]:
    """a b + b a."""
    first, second = to_matrix(a), to_matrix(b)
    return from_matrix(matmul(first, second) + matmul(second, first))


def square(a: Float[Array, "N 9 C"]) -> Float[Array, "N 9 C"]:
    """a a."""
    matrix = to_matrix(a)
    return from_matrix(matmul(matrix, matrix))


@jax.custom_vjp
def weighted_sum(factors: Float[Array, "N K 3C"], received: Float[Array, "N K 9C"]) -> Float[Array, "N 9 C"]:
    """Sum over neighbours of their matrices, each part times its factor.

    One neighbour of every atom at a time: XLA's sum over the middle axis is no vector code on a CPU, and takes ten
    times as long. The derivative is written out for the same reason.
    """
    n, k, width = factors.shape
    f, x = factors.reshape(n, k, 3, width // 3), received.reshape(n, k, 9, width // 3)

    def add(i, sums):
        f_i, x_i = (jax.lax.dynamic_index_in_dim(a, i, axis=1, keepdims=False) for a in (f, x))
        return tuple(
            total + f_i[:, p : p + 1] * x_i[:, part] for p, (total, part) in enumerate(zip(sums, _SLICES, strict=True))
        )

    zeros = tuple(jnp.zeros((n, size, width // 3), factors.dtype) for size in PARTS)
    return jnp.concatenate(jax.lax.fori_loop(0, k, add, zeros), axis=1)


def _weighted_sum_backward(residuals, cotangent):
    factors, received = residuals
    n, k, width = factors.shape
    f, x = factors.reshape(n, k, 3, width // 3), received.reshape(n, k, 9, width // 3)
    dy = cotangent[:, None]
    d_f = [sum(dy[:, :, m] * x[:, :, m] for m in range(part.start, part.stop)) for part in _SLICES]
    d_x = [dy[:, :, part] * f[:, :, p : p + 1] for p, part in enumerate(_SLICES)]
    return jnp.stack(d_f, axis=2).reshape(factors.shape), jnp.concatenate(d_x, axis=2).reshape(received.shape)


weighted_sum.defvjp(lambda f, x: (weighted_sum(f, x), (f, x)), _weighted_sum_backward)
