"""Small nep.txt files with random numbers, and the structures that they are compared on."""

from __future__ import annotations

import numpy as np

CASES = {
    "nep3": dict(kind="nep3", elements=("Si",), l_max="2 0 0"),
    "nep3_zbl": dict(kind="nep3_zbl", elements=("O", "Si"), l_max="4 2 1", zbl="0.9 1.8"),
    "nep4": dict(kind="nep4", elements=("Pb", "Te"), l_max="4 2 1 1 1 1 1"),
    "nep4_zbl": dict(kind="nep4_zbl", elements=("C", "O", "H"), l_max="3 2 0", zbl="0.5 2.2 0.9", cutoff="pairs"),
    "nep4_flexible": dict(kind="nep4_zbl", elements=("C", "O"), l_max="8 0 1", zbl="0 0"),
    "nep5": dict(kind="nep5", elements=("Cu", "Ag"), l_max="3 2 1"),
}


def nep_text(
    kind: str, elements=("Si",), l_max="4 2 0", zbl="", cutoff="4.6 3.4", neurons=6, n_max=(3, 2), basis=(5, 4), seed=0
) -> str:
    """The text of a file; ``cutoff`` "pairs" gives each element its own."""
    generator, n = np.random.default_rng(seed), len(elements)
    degrees, *flags = (int(word) for word in l_max.split())
    features = n_max[0] + 1 + (n_max[1] + 1) * (degrees + sum(flag > 0 for flag in flags))
    if cutoff == "pairs":
        cutoff = " ".join(f"{4.6 - 0.4 * i:g} {3.4 - 0.2 * i:g}" for i in range(n))
    lines = [f"{kind} {n} {' '.join(elements)}", *([f"zbl {zbl}"] if zbl else []), f"cutoff {cutoff} 80 40"]
    lines += [f"n_max {n_max[0]} {n_max[1]}", f"basis_size {basis[0]} {basis[1]}", f"l_max {l_max}", f"ANN {neurons} 0"]
    version = int(kind[3])
    network = (features + 2) * neurons + (version == 5)
    pairs = sum((n_max[i] + 1) * (basis[i] + 1) for i in (0, 1)) * n * n
    numbers = [
        generator.normal(scale=0.6, size=network * (1 if version == 3 else n) + 1),
        generator.normal(size=pairs),
        generator.uniform(0.1, 0.6, features),
    ]
    if zbl == "0 0":
        for _ in range(n * (n + 1) // 2):
            numbers.append(
                np.array([0.6, 1.9, 0.3, 2.9, 0.4, 1.1, 0.2, 0.5, 0.1, 0.3]) * generator.uniform(0.8, 1.1, 10)
            )
    return "\n".join([*lines, *(f"{x:15.7e}" for x in np.concatenate(numbers))]) + "\n"


def structures(elements) -> dict[str, tuple]:
    """(positions, cell, periodic, symbols): a sheared cell smaller than the cutoff, a molecule, an atom alone."""
    generator = np.random.default_rng(7)
    cell = np.array([[3.1, 0.0, 0.0], [0.9, 2.9, 0.0], [-0.4, 0.7, 3.4]])
    fractions = np.array([[0, 0, 0], [0.52, 0.47, 0.06], [0.1, 0.45, 0.55]]) + generator.uniform(-0.02, 0.02, (3, 3))
    few = [elements[i % len(elements)] for i in range(3)]
    molecule = np.array([[0, 0, 0], [1.3, 0, 0.2], [-0.5, 1.1, 0], [0.3, -0.4, 1.6]])
    return {
        "sheared": (fractions @ cell, cell, True, few),
        "molecule": (molecule, 40 * np.eye(3), True, [elements[i % len(elements)] for i in range(4)]),
        "alone": (np.zeros((1, 3)), 40 * np.eye(3), True, [elements[0]]),
    }
