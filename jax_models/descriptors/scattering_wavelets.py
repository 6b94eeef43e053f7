"""Wavelets of the scattering transform: Gaussian-type atomic orbitals and solid harmonics.

In units of the scale, x = r/beta and t = k beta, a wavelet and its Fourier transform have one form,

    psi(r) = a (2 pi)^(-3/2) beta^-3 x^l L(x^2) exp(-x^2/2) C_lm,
    psi^(k) = (-i)^l (-1)^(n-l-1) a t^l L(t^2) exp(-t^2/2) C_lm,

L the associated Laguerre polynomial L_{n-l-1}^(l+1/2) and C_lm real harmonics with sum over m of C_lm^2 = 1: these
orbitals are the states of the isotropic harmonic oscillator. Solid harmonics are those with n = l + 1.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

ORBITAL, SOLID_HARMONIC = "orbital", "solid_harmonic"


class Wavelet(NamedTuple):
    """One shell of 2 l + 1 wavelets.

    Example:
        >>> [(w.n, w.l) for w in wavelets("orbital", n_max=2, l_max=2)]
        [(1, 0), (2, 0), (2, 1)]
    """

    n: int
    l: int  # noqa: E741 (the quantum number's name)
    amplitude: float
    """a, which is the same at every scale."""

    @property
    def polynomial(self) -> tuple[float, ...]:
        """Coefficients of L in powers of x^2, the constant first."""
        return _laguerre(self.n - self.l - 1, self.l + 0.5)

    def radial(self, x: Float[np.ndarray, " R"]) -> Float[np.ndarray, " R"]:
        """psi beta^3 without the harmonic, at r = x beta."""
        square = np.asarray(x, float) ** 2
        values = np.polynomial.polynomial.polyval(square, self.polynomial)
        return self.amplitude * (2 * np.pi) ** -1.5 * np.asarray(x, float) ** self.l * values * np.exp(-0.5 * square)

    @property
    def peak(self) -> float:
        """Largest sqrt(sum_m psi^2), times beta^3: what one atom gives at most."""
        return float(np.abs(self.radial(np.linspace(0.0, 10.0, 2001))).max())

    @property
    def integral(self) -> float:
        """Integral over space of sqrt(sum_m psi^2), which is the same at every scale."""
        x = np.linspace(0.0, 12.0, 2401)
        return float(4 * np.pi * np.trapezoid(x**2 * np.abs(self.radial(x)), x))

    def reach(self, tolerance: float) -> float:
        """x beyond which |psi| stays below ``tolerance`` of its peak; psi^ in t likewise."""
        x = np.linspace(0.0, 20.0, 4001)
        values = np.abs(self.radial(x))
        return float(x[np.flatnonzero(values > tolerance * values.max())[-1]])


def wavelets(kind: str, n_max: int, l_max: int) -> tuple[Wavelet, ...]:
    """Every shell with l <= ``l_max``: of orbitals those with n <= ``n_max``, of unit norm at beta = 1 Å; of solid
    harmonics one for each l, normalised as Kymatio does (Eickenberg et al., arXiv 1805.00571)."""
    if kind == SOLID_HARMONIC:
        return tuple(Wavelet(degree + 1, degree, _solid_amplitude(degree)) for degree in range(l_max + 1))
    return tuple(
        Wavelet(n, degree, _orbital_amplitude(n, degree))
        for n in range(1, n_max + 1)
        for degree in range(min(n - 1, l_max) + 1)
    )


@functools.cache
def _laguerre(degree: int, alpha: float) -> tuple[float, ...]:
    return tuple(
        (-1) ** i
        * math.gamma(degree + alpha + 1)
        / (math.gamma(degree - i + 1) * math.gamma(alpha + i + 1) * math.factorial(i))
        for i in range(degree + 1)
    )


def _orbital_amplitude(n: int, degree: int) -> float:
    nodes = n - degree - 1
    norm = (2 * degree + 1) / (4 * math.pi) * 2 * math.factorial(nodes) / math.gamma(nodes + degree + 1.5)
    return (2 * math.pi) ** 1.5 * math.sqrt(norm)


def _solid_amplitude(degree: int) -> float:
    """The integral of |psi| for each m of an even l is that of a Gaussian; Kymatio's closed forms."""
    if degree % 2 == 0:
        norm = 1.0 / (2 * math.pi * math.sqrt(degree + 0.5) * math.prod(range(degree + 1, 0, -2)))
    else:
        norm = 1.0 / (
            2 ** (0.5 * (degree + 3)) * math.sqrt(math.pi * (2 * degree + 1)) * math.factorial((degree + 1) // 2)
        )
    return (2 * math.pi) ** 1.5 * norm * math.sqrt((2 * degree + 1) / (4 * math.pi))
