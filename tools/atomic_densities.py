"""Make jax_models/descriptors/element_densities.json: valence electron densities of the elements as sums of Gaussians.

    python tools/atomic_densities.py [--check]

Each atom is solved here, from nothing but its charge and configuration: non-relativistic, spin-restricted, spherical
Kohn-Sham with Slater exchange and the correlation of Vosko, Wilk and Nusair (LDA, the functional of the NIST tables of
Kotochigova et al., PRA 55, 191, which --check compares total energies with), in an even-tempered Gaussian basis. The
density of the valence orbitals is then fitted by eight Gaussians and scaled to hold the number of valence electrons
exactly. Valence: what lies outside the noble-gas core, and outside a filled d or f shell
beneath a p or d shell. The fit leaves out Gaussians sharper than 6 Å^-2, that is, the orbitals' wiggles in the core.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
from scipy.linalg import eigh
from scipy.special import gamma

from jax_models.elements import SYMBOLS
from jax_models.units import BOHR

OUTPUT = Path(__file__).resolve().parents[1] / "jax_models" / "descriptors" / "element_densities.json"
LAST = 86
NOBLE = (0, 2, 10, 18, 36, 54, 86)
ORDER = [
    (1, 0),
    (2, 0),
    (2, 1),
    (3, 0),
    (3, 1),
    (4, 0),
    (3, 2),
    (4, 1),
    (5, 0),
    (4, 2),
    (5, 1),
    (6, 0),
    (4, 3),
    (5, 2),
    (6, 1),
]
# Ground states that do not follow the order above: the shells that differ, as (n, l): electrons.
EXCEPTIONS = {
    "Cr": {(4, 0): 1, (3, 2): 5}, "Cu": {(4, 0): 1, (3, 2): 10}, "Nb": {(5, 0): 1, (4, 2): 4},
    "Mo": {(5, 0): 1, (4, 2): 5}, "Ru": {(5, 0): 1, (4, 2): 7}, "Rh": {(5, 0): 1, (4, 2): 8},
    "Pd": {(5, 0): 0, (4, 2): 10}, "Ag": {(5, 0): 1, (4, 2): 10}, "La": {(4, 3): 0, (5, 2): 1},
    "Ce": {(4, 3): 1, (5, 2): 1}, "Gd": {(4, 3): 7, (5, 2): 1}, "Pt": {(6, 0): 1, (5, 2): 9},
    "Au": {(6, 0): 1, (5, 2): 10},
}  # fmt: skip
NIST_LDA = {
    "H": -0.445671,
    "C": -37.425749,
    "Ne": -128.233481,
    "Si": -288.198397,
    "Ar": -525.946195,
    "Kr": -2750.147940,
    "Xe": -7228.856107,
}
GRID = np.exp(np.linspace(np.log(1e-6), np.log(60.0), 4001))
STEP = np.log(GRID[1] / GRID[0])


def configuration(number: int) -> dict[tuple[int, int], int]:
    """Electrons in each shell (n, l)."""
    shells, left = {}, number
    for n, ell in ORDER:
        shells[n, ell] = min(left, 4 * ell + 2)
        left -= shells[n, ell]
    shells.update(EXCEPTIONS.get(SYMBOLS[number - 1], {}))
    assert sum(shells.values()) == number
    return {shell: count for shell, count in shells.items() if count}


def valence(number: int) -> dict[tuple[int, int], int]:
    """The shells that take part in bonding."""
    core = max(n for n in NOBLE if n < number)
    inner = configuration(core) if core else {}
    shells = {shell: count for shell, count in configuration(number).items() if shell not in inner}
    buried = {2: {1}, 3: {1, 2}}  # a filled d shell under p electrons, a filled f shell under p or d electrons
    present = {ell for _, ell in shells}
    return {
        (n, ell): count
        for (n, ell), count in shells.items()
        if count < 4 * ell + 2 or not buried.get(ell, set()) & present
    }


def radial_integral(values: np.ndarray) -> float:
    """Integral over r from 0 to infinity on the logarithmic grid."""
    return float(np.sum(values * GRID) * STEP)


def exchange_correlation(density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energy per electron and potential (hartree) of the LDA."""
    density = np.maximum(density, 1e-30)
    rs = (3 / (4 * np.pi * density)) ** (1 / 3)
    exchange = -0.75 * (9 / (4 * np.pi**2)) ** (1 / 3) / rs
    a, x0, b, c = 0.0310907, -0.10498, 3.72744, 12.9352
    q, x = np.sqrt(4 * c - b * b), np.sqrt(rs)
    big, big0 = x * x + b * x + c, x0 * x0 + b * x0 + c
    angle = np.arctan(q / (2 * x + b))
    correlation = a * (
        np.log(x * x / big)
        + 2 * b / q * angle
        - b * x0 / big0 * (np.log((x - x0) ** 2 / big) + 2 * (b + 2 * x0) / q * angle)
    )
    shape = q * q + (2 * x + b) ** 2
    slope = a * (
        2 / x
        - (2 * x + b) / big
        - 4 * b / shape
        - b * x0 / big0 * (2 / (x - x0) - (2 * x + b) / big - 4 * (b + 2 * x0) / shape)
    )
    return exchange + correlation, 4 / 3 * exchange + correlation - x / 6 * slope


def hartree(density: np.ndarray) -> np.ndarray:
    """Electrostatic potential of a spherical density (hartree)."""
    inner = np.cumsum(density * GRID**3) * STEP - 0.5 * STEP * density * GRID**3
    outer = np.cumsum((density * GRID**2)[::-1])[::-1] * STEP - 0.5 * STEP * density * GRID**2
    return 4 * np.pi * (inner / GRID + outer)


def solve(number: int) -> tuple[float, dict[tuple[int, int], np.ndarray]]:
    """Total energy (hartree) and density per electron of each occupied shell on GRID (bohr^-3)."""
    shells = configuration(number)
    ratio = 1.8
    largest = 4000.0 * number**2
    zeta = 0.015 * ratio ** np.arange(int(np.log(largest / 0.015) / np.log(ratio)) + 1)
    parts = {}
    for ell in {ell for _, ell in shells}:
        exponents = zeta[zeta < largest / 30.0**ell]
        total = exponents[:, None] + exponents
        overlap = (2 * np.sqrt(np.outer(exponents, exponents)) / total) ** (ell + 1.5)
        kinetic = (2 * ell + 3) * np.outer(exponents, exponents) / total * overlap
        norm = (0.5 * gamma(ell + 1.5) * (2 * exponents) ** (-ell - 1.5)) ** -0.5
        nuclear = -number * np.outer(norm, norm) * 0.5 * gamma(ell + 1) / total ** (ell + 1)
        functions = norm[:, None] * GRID**ell * np.exp(-exponents[:, None] * GRID**2)
        parts[ell] = overlap, kinetic + nuclear, functions
    screened = -number * (1 - np.exp(-GRID)) * 0.9 / GRID
    potential = screened + number / GRID  # electrons screen the nucleus from about a bohr on: only a start
    residuals, potentials = [], []
    for _ in range(200):
        orbitals, eigenvalues = {}, 0.0
        for ell, (overlap, bare, functions) in parts.items():
            energies, vectors = eigh(bare + (functions * (potential * GRID**3) * STEP) @ functions.T, overlap)
            for (n, shell_l), count in shells.items():
                if shell_l == ell:
                    orbitals[n, ell] = (vectors[:, n - ell - 1] @ functions) ** 2 / (4 * np.pi)
                    eigenvalues += count * energies[n - ell - 1]
        density = sum(count * orbitals[shell] for shell, count in shells.items())
        energy_xc, potential_xc = exchange_correlation(density)
        electrostatic = hartree(density)
        output = electrostatic + potential_xc
        residual = output - potential
        if radial_integral(4 * np.pi * GRID**2 * density * np.abs(residual)) < 1e-7 * number:
            break
        # Anderson mixing over the last steps.
        residuals, potentials = [*residuals[-5:], residual], [*potentials[-5:], potential]
        weight = density * GRID**3
        differences = np.array([r - residuals[-1] for r in residuals[:-1]])
        if len(differences):
            gram = (differences * weight) @ differences.T
            mix = np.linalg.lstsq(gram, -(differences * weight) @ residuals[-1], rcond=1e-10)[0]
            potential = potentials[-1] + sum(
                m * (p - potentials[-1]) for m, p in zip(mix, potentials[:-1], strict=True)
            )
            residual = residuals[-1] + mix @ differences
        potential = potential + 0.3 * residual
    else:
        raise RuntimeError(f"{SYMBOLS[number - 1]} did not converge")
    volume = 4 * np.pi * GRID**2 * density
    double_counting = radial_integral(volume * potential) - 0.5 * radial_integral(volume * electrostatic)
    energy = eigenvalues - double_counting + radial_integral(volume * energy_xc)
    return energy, orbitals


def gaussian_fit(density: np.ndarray, electrons: int) -> tuple[list[float], list[float], float]:
    """Exponents (Å^-2), coefficients (electrons/Å^3) and the share of electrons in the wrong place."""
    radius, exponents = GRID * BOHR, 0.1 * 1.8 ** np.arange(8)
    shell = 4 * np.pi * radius**2 * density / BOHR**3
    weight = np.sqrt(radius * STEP)
    basis = 4 * np.pi * radius**2 * np.exp(-exponents[:, None] * radius**2)
    charges = (np.pi / exponents) ** 1.5
    # In charges, so that the ridge treats all widths alike; the last row holds the number of electrons.
    rows = np.vstack(
        [(basis / charges[:, None] * weight).T, np.full(len(exponents), 100.0), 0.003 * np.eye(len(exponents))]
    )
    fitted = np.linalg.lstsq(rows, np.concatenate([shell * weight, [100.0 * electrons], np.zeros(len(exponents))]))[0]
    coefficients = fitted * electrons / fitted.sum() / charges
    wrong = 0.5 * np.sum(np.abs(coefficients @ basis - shell) * radius) * STEP / electrons
    return [float(f"{e:.10g}") for e in exponents], [float(f"{c:.12g}") for c in coefficients], wrong


def main() -> None:
    check = "--check" in sys.argv
    elements = {}
    for number in range(1, LAST + 1):
        symbol = SYMBOLS[number - 1]
        if check and symbol not in NIST_LDA:
            continue
        energy, orbitals = solve(number)
        shells = valence(number)
        electrons = sum(shells.values())
        exponents, coefficients, wrong = gaussian_fit(sum(c * orbitals[s] for s, c in shells.items()), electrons)
        reference = f"   NIST {NIST_LDA[symbol]:.6f}" if symbol in NIST_LDA else ""
        print(
            f"{symbol:2s} {energy:15.6f} hartree{reference}   {electrons} valence electrons, {len(exponents)} "
            f"Gaussians, {100 * wrong:.1f} % misplaced"
        )
        elements[symbol] = {"valence_electrons": electrons, "exponents": exponents, "coefficients": coefficients}
    if check:
        return
    document = {
        "source": "tools/atomic_densities.py: non-relativistic spherical LDA (Slater, VWN) atoms, "
        "valence orbitals, Gaussian fit",
        "units": {"exponents": "1/Å^2", "coefficients": "electrons/Å^3"},
        "elements": elements,
    }
    rows = ",\n".join(f'  "{symbol}": {json.dumps(entry)}' for symbol, entry in document.pop("elements").items())
    head = json.dumps(document, indent=1, ensure_ascii=False)[:-2]
    temporary = OUTPUT.with_suffix(".tmp")
    temporary.write_text(f'{head},\n "elements": {{\n{rows}\n }}\n}}\n', encoding="utf-8")
    os.replace(temporary, OUTPUT)


if __name__ == "__main__":
    main()
