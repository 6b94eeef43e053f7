"""Which depth and order tell the degenerate pairs of ../shared/data/degenerate apart: untrained networks, in double.

    python benchmarks/message_passing_degenerate.py

Prints the difference of the energies of atom 0, relative to their spread over random weights; below 1e-9 the network
sees no difference. The pairs are degenerate for the centre's environment up to the body order in their name.
"""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "degenerate" / "degenerate_pairs.xyz.xz"
NETWORKS = {
    "schnet": [{"name": "schnet", "n_atom_basis": 16, "n_interactions": n} for n in (1, 2, 3)],
    "painn": [{"name": "painn", "n_atom_basis": 16, "n_interactions": n} for n in (1, 2, 3)],
    **{
        f"mace, correlation {c}": [
            {
                "name": "mace",
                "hidden_irreps": "8x0e + 8x1o",
                "num_interactions": n,
                "correlation": c,
                "radial_MLP": [16],
            }
            for n in (1, 2)
        ]
        for c in (1, 2, 3, 4)
    },
}


def main() -> None:
    import io

    from ase import Atoms
    from ase.io import read

    from jax_models import Contract, Potential
    from jax_models.models import build

    with lzma.open(DATA, "rt") as file:
        frames = read(io.StringIO(file.read()), ":", format="extxyz")
    pairs: dict[str, list] = {}
    for frame in frames:
        pairs.setdefault(frame.info["pair"], []).append(frame)
    elements = tuple(sorted({s for frame in frames for s in frame.get_chemical_symbols()}))
    cutoff = 2.0 * max(float(frame.get_distances(0, range(1, len(frame))).max()) for frame in frames)
    # All in one structure, out of each other's sight: the network is compiled once for the eight.
    apart, centers = Atoms(), []
    for n, frame in enumerate(frame for pair in pairs.values() for frame in pair[:2]):
        frame.positions += [4.0 * cutoff * n, 0, 0]
        centers.append(len(apart))
        apart += frame
    print(f"{'network':22s} layers " + " ".join(f"{name:>16s}" for name in pairs))
    for name, variants in NETWORKS.items():
        for architecture in variants:
            energies = []
            for seed in range(3):
                model = build(architecture, elements, cutoff, seed)
                potential = Potential(
                    Contract(elements, cutoff, model.n_layers, model.kind), model, architecture, np.zeros(len(elements))
                )
                values = potential.evaluate(apart.positions, np.zeros((3, 3)), False, apart.get_chemical_symbols())
                energies.append(values["energies"][centers])
            energies = np.array(energies).reshape(3, len(pairs), 2)
            row = np.abs(energies[..., 0] - energies[..., 1]).max(axis=0) / np.abs(energies).max(axis=(0, 2))
            print(f"{name:22s} {model.n_layers:6d} " + " ".join(f"{d:16.1e}" for d in row), flush=True)


if __name__ == "__main__":
    main()
