"""3x3 matrices by their parts: a multiple of the identity, an antisymmetric and a symmetric traceless matrix.

The nine numbers of a matrix are s; a_x, a_y, a_z; S_xx, S_yy, S_xy, S_xz, S_yz, on the axis before the channels. The
matrix is s 1 + [a]x + S with [a]x b = a x b and S_zz = -S_xx - S_yy. A rotation mixes numbers of one part only.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

PARTS = (1, 3, 5)
_SLICES = (slice(0, 1), slice(1, 4), slice(4, 9))


def of_direction(unit: Float[Array, "*n 3"]) -> Float[Array, "*n 9"]:
    """1, [u]x and u u^T - 1/3 of a unit vector u, each a part."""
    x, y, z = unit[..., 0], unit[..., 1], unit[..., 2]
    symmetric = (x * x - 1.0 / 3.0, y * y - 1.0 / 3.0, x * y, x * z, y * z)
    return jnp.stack((jnp.ones_like(x), x, y, z, *symmetric), axis=-1)


def norms(x: Float[Array, "N 9 C"]) -> Float[Array, "N 3 C"]:
    """Sum of the squares of the matrix elements of each part."""
    squares = x * x
    trace = x[:, 4] + x[:, 5]
    symmetric = squares[:, 4] + squares[:, 5] + trace * trace + 2.0 * (squares[:, 6] + squares[:, 7] + squares[:, 8])
    return jnp.stack([3.0 * squares[:, 0], 2.0 * (squares[:, 1] + squares[:, 2] + squares[:, 3]), symmetric], axis=1)


def mix(x: Float[Array, "N 9 C"], weights: list[Float[Array, "C Out"]]) -> Float[Array, "N 9 Out"]:
    """Channels mixed, by a matrix for each part."""
    return jnp.concatenate([x[:, part] @ w for part, w in zip(_SLICES, weights, strict=True)], axis=1)


def scale(factors: Float[Array, "N 3 C"], x: Float[Array, "N 9 C"]) -> Float[Array, "N 9 C"]:
    """Each part times its factor."""
    return jnp.concatenate([x[:, part] * factors[:, p : p + 1] for p, part in enumerate(_SLICES)], axis=1)


Matrix = list[list[Float[Array, "N C"]]]
"""Rows of elements."""


@jax.custom_vjp
def _numbers(x: Float[Array, "N 9 C"]) -> tuple[Float[Array, "N C"], ...]:
    """The nine numbers, each an array. Their derivative is a stack; XLA's own is a sum of nine arrays of zeros, which
    it takes again for every neighbour."""
    return tuple(x[:, m] for m in range(9))


_numbers.defvjp(lambda x: (_numbers(x), None), lambda _, cotangents: (jnp.stack(cotangents, axis=1),))


def to_matrix(x: Float[Array, "N 9 C"]) -> Matrix:
    """The nine elements."""
    s, ax, ay, az, xx, yy, xy, xz, yz = _numbers(x)
    return [[s + xx, xy - az, xz + ay], [xy + az, s + yy, yz - ax], [xz - ay, yz + ax, s - xx - yy]]


def from_matrix(m: Matrix) -> Float[Array, "N 9 C"]:
    """The numbers of a matrix, see above."""
    s = (m[0][0] + m[1][1] + m[2][2]) * (1.0 / 3.0)
    antisymmetric = (m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1])
    symmetric = (m[0][1] + m[1][0], m[0][2] + m[2][0], m[1][2] + m[2][1])
    halves = [0.5 * value for value in (*antisymmetric, *symmetric)]
    return jnp.stack([s, *halves[:3], m[0][0] - s, m[1][1] - s, *halves[3:]], axis=1)


def product(a: Matrix, b: Matrix) -> Matrix:
    """a b, channel by channel."""
    return [[a[i][0] * b[0][j] + a[i][1] * b[1][j] + a[i][2] * b[2][j] for j in range(3)] for i in range(3)]


def anticommutator(a: Float[Array, "N 9 C"], b: Float[Array, "N 9 C"]) -> Float[Array, "N 9 C"]:
    """a b + b a."""
    first, second = to_matrix(a), to_matrix(b)
    pairs = zip(product(first, second), product(second, first), strict=True)
    return from_matrix([[x + y for x, y in zip(*rows, strict=True)] for rows in pairs])


def square(a: Float[Array, "N 9 C"]) -> Float[Array, "N 9 C"]:
    """a a."""
    matrix = to_matrix(a)
    return from_matrix(product(matrix, matrix))


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


def _weighted_sum_forward(factors, received):
    return weighted_sum(factors, received), (factors, received)


def _weighted_sum_backward(residuals, cotangent):
    factors, received = residuals
    n, k, width = factors.shape
    f, x = factors.reshape(n, k, 3, width // 3), received.reshape(n, k, 9, width // 3)
    dy = _in_memory(cotangent, factors)[:, None]
    d_f = [sum(dy[:, :, m] * x[:, :, m] for m in range(part.start, part.stop)) for part in _SLICES]
    d_x = [dy[:, :, part] * f[:, :, p : p + 1] for p, part in enumerate(_SLICES)]
    return jnp.stack(d_f, axis=2).reshape(factors.shape), jnp.concatenate(d_x, axis=2).reshape(received.shape)


def _in_memory(array, other):
    """``array``, computed once. XLA's fusions would compute it again for every neighbour; they end at a condition that
    is not known beforehand."""
    return jax.lax.cond(other.reshape(-1)[0] > 0.0, lambda x: x, lambda x: x, array)


weighted_sum.defvjp(_weighted_sum_forward, _weighted_sum_backward)
