"""Atomic-orbital wavelet scattering of the whole cell (Sinz et al., J. Chem. Phys. 153, 084109; Brumwell et al.,
arXiv 1812.02320; Eickenberg et al., arXiv 1805.00571).

Atoms are points of weight w_c(z) in density channels c. Each channel is convolved with the wavelets of every scale, the
modulus over m is taken, and its powers are integrated over the cell; the modulus is convolved again with wider
wavelets. Convolutions are products of Fourier series on a grid commensurate with the cell, and the series of points is
exact, so only the integrals of moduli depend on the grid. Wider wavelets work on coarser grids.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from jax_models.basis.angular import spherical_harmonics
from jax_models.descriptors.scattering_density import density_channels
from jax_models.descriptors.scattering_grid import (
    GridSize,
    coarser,
    grid_of,
    on_grid,
    plane_waves,
    structure_factors,
    to_coefficients,
    to_field,
)
from jax_models.descriptors.scattering_wavelets import ORBITAL, SOLID_HARMONIC, Wavelet, wavelets
from jax_models.errors import ConfigError


class Scattering(eqx.Module):
    """Features [F] of a cell: extensive, invariant to rotation, translation and permutation of like atoms.

    Order 0 is sum_k w_k^q. Order 1 is the integral of (s + e)^(q/2) - e^(q/2), s the sum over m of |rho * psi_nlm|^2:
    for e = 0 that is the integral of U^q, and e = d^2 rounds the modulus off below d, a part ``smoothing`` of the most
    that one atom gives, because the bare modulus has no derivative at its zeros and would need ever finer grids. Order
    2 is the same of the first order's U, convolved with each wider scale. Empty space adds nothing.

    Args:
        elements: chemical symbols.
        wavelet: "orbital" (n_max, l_max) or "solid_harmonic" (l_max).
        n_max, l_max: shells with 0 <= l < n <= n_max, l <= l_max.
        beta_0, n_scales, ratio: scales beta = beta_0 ratio^j in Å, j = 0 .. n_scales - 1.
        orders: of 0, 1 and 2.
        powers: q; numbers, or texts such as "4/3".
        channels: density channels, see `density_channels`.
        pairs: which wavelets follow which in the second order: "same" (n, l), or "all".
        smoothing: d in units of what one atom gives at most.
        tolerance: the grid holds the squares of the narrowest waves but for plane waves that have fallen to this part
            of their peak.

    Raises:
        ConfigError: a setting is outside its range.

    Example:
        >>> s = Scattering(("Si",), n_max=1, n_scales=2, orders=(1, 2), powers=(1, 2))
        >>> s.n_features, s.feature_names[-1]["scale2"]
        (6, 1.0)
    """

    weights: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    channel_names: tuple[str, ...] = eqx.field(static=True)
    shells: tuple[Wavelet, ...] = eqx.field(static=True)
    scales: tuple[float, ...] = eqx.field(static=True)
    orders: tuple[int, ...] = eqx.field(static=True)
    powers: tuple[float, ...] = eqx.field(static=True)
    pairs: str = eqx.field(static=True)
    smoothing: float = eqx.field(static=True)
    spacing: float = eqx.field(static=True)
    """Å, of the finest grid."""

    defaults: ClassVar[dict] = {
        "wavelet": ORBITAL,
        "n_max": 3,
        "l_max": 2,
        "beta_0": 0.5,
        "n_scales": 3,
        "ratio": 2.0,
        "orders": (0, 1, 2),
        "powers": (1, "4/3", "5/3", 2),
        "channels": ("ones", "elements"),
        "pairs": "same",
        "smoothing": 0.1,
        "tolerance": 0.1,
    }
    by_symbol: ClassVar[bool] = True
    whole_cell: ClassVar[bool] = True

    def __init__(self, elements: tuple[str, ...], *, key: Array | None = None, **settings: Any):
        s = self.defaults | settings
        _check(s)
        self.channel_names, weights = density_channels(s["channels"], elements)
        self.weights = tuple(map(tuple, weights.tolist()))
        self.shells = wavelets(s["wavelet"], s["n_max"], s["l_max"])
        self.scales = tuple(s["beta_0"] * s["ratio"] ** j for j in range(s["n_scales"]))
        self.orders = tuple(sorted(s["orders"]))
        self.powers = tuple(float(Fraction(str(q))) for q in s["powers"])
        self.pairs, self.smoothing = s["pairs"], float(s["smoothing"])
        # Fine enough for the squares of waves, which reach twice as far as waves do.
        self.spacing = 0.5 * np.pi * self.scales[0] / max(shell.reach(s["tolerance"]) for shell in self.shells)

    @property
    def reach(self) -> float:
        """Å: beyond this a wavelet of the widest scale is negligible (isolated systems need as much empty space)."""
        return self.scales[-1] * max(shell.reach(1e-3) for shell in self.shells)

    @property
    def n_features(self) -> int:
        return len(self.feature_names)

    @property
    def feature_names(self) -> list[dict[str, Any]]:
        """For each feature: ``order``, ``channel``, ``power``; from order 1 ``n``, ``l``, ``scale``; for order 2
        ``n2``, ``l2``, ``scale2`` (Å)."""
        names: list[dict[str, Any]] = []
        if 0 in self.orders:
            names += [{"order": 0, "channel": self.channel_names[c], "power": q} for c, q, _ in self._zeroth()]
        last = [{"channel": channel, "power": q} for channel in self.channel_names for q in self.powers]
        first = [{"n": a.n, "l": a.l, "scale": beta} for beta in self.scales for a in self.shells]
        if 1 in self.orders:
            names += [{"order": 1, **shell, **end} for shell in first for end in last]
        if 2 in self.orders:
            names += [
                {"order": 2, "n": a.n, "l": a.l, "scale": beta, "n2": b.n, "l2": b.l, "scale2": wider, **end}
                for k, wider in enumerate(self.scales)
                for beta in self.scales[:k]
                for a, b in self._followed()
                for end in last
            ]
        return names

    def grid_for(self, cell: Float[np.ndarray, "3 3"]) -> GridSize:
        """The grid that a cell (rows in Å, all three with a length) needs for the tolerance."""
        return grid_of(cell, self.spacing)

    def __call__(
        self,
        positions: Float[Array, "N 3"],
        cell: Float[Array, "3 3"],
        species: Int[Array, " N"],
        mask: Bool[Array, " N"],
        grid: GridSize,
    ) -> Float[Array, " F"]:
        """Features of one cell, differentiable in ``positions`` and ``cell``.

        Args:
            positions: Å; where ``mask`` is False there is no atom.
            cell: rows in Å; periodic along all three (see `jax_models.whole_cell.enclosing_cell`).
            species: indices into ``elements``.
            grid: of `grid_for` this cell or one like it; static under jit.
        """
        dtype = positions.dtype
        weights = jnp.asarray(self.weights, dtype)[:, species] * mask
        volume = jnp.abs(jnp.linalg.det(cell))
        values = []
        if 0 in self.orders:
            by_element = jnp.asarray([w for _, _, w in self._zeroth()], dtype)
            values.append(jnp.sum(by_element[:, species] * mask, axis=1))
        if self.orders == (0,):
            return values[0]
        density = structure_factors(positions @ jnp.linalg.inv(cell), weights, grid)[:, None]
        shells = len(self.shells)
        moduli = jnp.zeros((len(weights), 0, shells, *density.shape[-3:]), density.dtype)
        first, second = [], []
        for beta in self.scales:
            size = coarser(grid, beta / self.scales[0])
            density, moduli = on_grid(density, size), on_grid(moduli, size)
            integrals, modulus = self._transform(density, moduli, self._filters(cell, size, beta), size, volume, beta)
            if 2 in self.orders:
                moduli = jnp.concatenate([moduli, to_coefficients(modulus, volume)[:, None]], axis=1)
            first.append(integrals[:shells])
            second.append(integrals[shells:])
        parts = values + (first if 1 in self.orders else []) + second
        return jnp.concatenate([part.reshape(-1) for part in parts])

    def _transform(
        self,
        density: Complex[Array, "C 1 n1 n2 n3h"],
        moduli: Complex[Array, "C J P n1 n2 n3h"],
        filters: Complex[Array, "M n1 n2 n3h"],
        grid: GridSize,
        volume: Float[Array, ""],
        beta: float,
    ) -> tuple[Float[Array, "R C Q"], Float[Array, "C P n1 n2 n3"]]:
        """Convolve the density, and the first order's moduli of narrower scales, with the wavelets of one scale:
        integrals of the new moduli's powers, row by row, and the first order's moduli of this scale."""
        n_channels, n_before, n_shells = moduli.shape[:3]
        n_waves = len(filters)
        # All in one block: XLA's compile time goes with the number of operations.
        if self.pairs == "same":
            followed = moduli[:, :, self._members] * filters
            masses = np.tile([shell.integral for shell in self.shells], (n_before, 1))
        else:
            followed = (moduli[:, :, :, None] * filters).reshape(
                n_channels, n_before * n_shells, n_waves, *filters.shape[1:]
            )
            masses = np.repeat(np.tile([shell.integral for shell in self.shells], n_before)[:, None], n_shells, axis=1)
        waves = jnp.concatenate([(density * filters)[:, None], followed], axis=1)
        rounding = self.rounding(beta)[:, None] * np.concatenate([np.ones((1, n_shells)), masses])
        field = to_field(waves, grid, volume)
        ends = np.cumsum([2 * shell.l + 1 for shell in self.shells])
        squares = jnp.stack([jnp.sum(part**2, axis=2) for part in jnp.split(field, ends[:-1], axis=2)], axis=2)
        squares = jax.lax.optimization_barrier(squares)
        e = jnp.asarray(rounding**2, field.dtype)[..., None, None, None]
        exponents = 0.5 * jnp.asarray(self.powers, field.dtype)
        powers = jnp.exp(exponents[:, None, None, None] * jnp.log(squares + e)[:, :, :, None])
        integrals = volume * (jnp.mean(powers, axis=(4, 5, 6)) - e[..., 0, 0] ** exponents)
        rows = integrals.transpose(1, 2, 0, 3).reshape(-1, n_channels, len(self.powers))
        return rows, jnp.sqrt(squares[:, 0] + e[:, 0]) - jnp.sqrt(e[:, 0])

    def rounding(self, beta: float) -> Float[np.ndarray, "C P"]:
        """d of each channel and shell (the modulus is rounded off below it): a part of the peak of the heaviest atom's
        wave."""
        heaviest = np.abs(np.array(self.weights)).max(axis=1)
        return self.smoothing * heaviest[:, None] * np.array([shell.peak for shell in self.shells]) / beta**3

    def _zeroth(self) -> list[tuple[int, float, tuple[float, ...]]]:
        """Channel, power and weights^power of each zeroth-order feature; powers of 0 and 1 give each only once."""
        found: list[tuple[int, float, tuple[float, ...]]] = []
        for c, weights in enumerate(self.weights):
            for q in self.powers:
                raised = tuple(abs(w) ** q for w in weights)
                if raised not in [known for channel, _, known in found if channel == c]:
                    found.append((c, q, raised))
        return found

    def _followed(self) -> list[tuple[Wavelet, Wavelet]]:
        """First and second wavelet of the second order's paths, for each pair of scales."""
        if self.pairs == "same":
            return [(shell, shell) for shell in self.shells]
        return [(a, b) for a in self.shells for b in self.shells]

    @property
    def _members(self) -> np.ndarray:
        """The shell of each of the wavelets, all m counted."""
        return np.repeat(np.arange(len(self.shells)), [2 * shell.l + 1 for shell in self.shells])

    def _filters(self, cell: Float[Array, "3 3"], grid: GridSize, beta: float) -> Complex[Array, "M n1 n2 n3h"]:
        """Fourier transforms of all wavelets of one scale."""
        vectors = beta * plane_waves(cell, grid)
        square = jnp.sum(vectors * vectors, axis=0)
        at_zero = square == 0.0
        t = jnp.sqrt(jnp.where(at_zero, 1.0, square))
        x, y, z = vectors / t
        harmonics = jnp.stack(spherical_harmonics(x, y, z, max(shell.l for shell in self.shells)))
        # The polynomials of all shells in one product: XLA's compile time goes with the number of operations.
        highest = max(shell.n for shell in self.shells)
        powers = jnp.stack([jnp.ones_like(square)] + [jnp.where(at_zero, 0.0, t**i) for i in range(1, 2 * highest)])
        table = np.zeros((len(self.shells), len(powers)))
        for row, shell in zip(table, self.shells, strict=True):
            sign = (-1) ** (shell.n - shell.l - 1)
            row[shell.l : shell.l + 2 * len(shell.polynomial) : 2] = sign * shell.amplitude * np.array(shell.polynomial)
        radial = jnp.einsum("pi,i...->p...", jnp.asarray(table, cell.dtype), powers) * jnp.exp(-0.5 * square)
        degrees = np.array([shell.l for shell in self.shells])[self._members]
        orders = np.concatenate([np.arange(shell.l**2, (shell.l + 1) ** 2) for shell in self.shells])
        phases = jnp.asarray((-1j) ** degrees, jnp.result_type(cell.dtype, jnp.complex64))
        # Without the barrier XLA computes the wavelets again inside each of their uses.
        return jax.lax.optimization_barrier(phases[:, None, None, None] * (radial[self._members] * harmonics[orders]))


def _check(s: dict[str, Any]) -> None:
    def refuse(name: str, allowed: str) -> None:
        raise ConfigError(f"scattering: {name} is {s[name]!r}; it must be {allowed}")

    def number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)

    for name, least, most in (("n_max", 1, 8), ("l_max", 0, 8), ("n_scales", 1, 12)):
        if not isinstance(s[name], int) or isinstance(s[name], bool) or not least <= s[name] <= most:
            refuse(name, f"a whole number from {least} to {most}")
    for name, above, below in (
        ("beta_0", 0.1, 10.0),
        ("ratio", 1.05, 8.0),
        ("tolerance", 1e-8, 0.1),
        ("smoothing", 1e-6, 1.0),
    ):
        if not number(s[name]) or not above <= s[name] <= below:
            refuse(name, f"a number from {above:g} to {below:g}")
    if s["wavelet"] not in (ORBITAL, SOLID_HARMONIC):
        refuse("wavelet", f"{ORBITAL} or {SOLID_HARMONIC}")
    if s["pairs"] not in ("same", "all"):
        refuse("pairs", "same or all")
    orders = s["orders"]
    if not isinstance(orders, tuple | list) or not orders or set(orders) - {0, 1, 2} or len(set(orders)) < len(orders):
        refuse("orders", "one or more of 0, 1 and 2, each once")
    if not isinstance(s["powers"], tuple | list) or not s["powers"] or not isinstance(s["channels"], tuple | list):
        refuse("powers" if isinstance(s["channels"], tuple | list) else "channels", "a list that is not empty")
    for q in s["powers"]:
        try:
            value = float(Fraction(str(q)))
        except (ValueError, ZeroDivisionError):
            value = 0.0
        if not 0.25 <= value <= 4:
            refuse("powers", 'a list of numbers from 0.25 to 4, or texts such as "4/3"')
