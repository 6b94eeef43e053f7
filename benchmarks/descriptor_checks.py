"""What a representation must do (Langer, Goessmann, Rupp, arXiv 2003.12081), for every descriptor from every kind of
point.

    python benchmarks/descriptor_checks.py [--only soap,gmp] [--write docs/descriptors.md]

Checked is the sum of the features over a structure's points: over its atoms, its bonds with their weights, or the grid
with the volume of its cells, less empty space. Everything is relative to the largest value of each feature. The
degenerate pairs (Pozdnyakov et al., PRL 125, 166001) are told apart by what the central atom, or its bonds, sees; a
grid has no centre, its sum over space is compared. --write replaces the part of that page between its two marks.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jax_models.elements import element_indices
from jax_models.models import build
from jax_models.neighborhood import Neighborhood, neighborhood_of
from jax_models.reference_points.grid_list import grid_points
from jaxff.runtime import configure

CUTOFF, SPACING = 4.5, 0.8
ROWS, WIDTH = 64, 36
POINTS = ("atoms", "bonds", "grid")
SETTINGS = {
    "gmp": {"sigmas": [0.4, 0.8, 1.2, 1.6]},
    "soap": {"n_max": 6, "l_max": 4},
    "mbtr": {"geometry": {"function": "cosine"}, "grid": {"min": -1.0, "max": 1.0, "sigma": 0.15, "n": 16},
             "weighting": {"function": "unity"}},
}  # fmt: skip
FINER = {"scattering": 0.4}
"""Å between the points of a grid where `SPACING` is too coarse for a descriptor."""
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "degenerate" / "degenerate_pairs.xyz.xz"
MARKS = "<!-- benchmarks/descriptor_checks.py -->", "<!-- end of benchmarks/descriptor_checks.py -->"


class Features:
    """Summed features of structures, compiled once: rows come in blocks of one shape."""

    def __init__(self, name: str, points: str, elements: tuple[str, ...], spacing: float | None = None):
        settings = {"name": name, **SETTINGS.get(name, {})}
        reference = {"name": points} | ({"spacing": spacing} if spacing else {})
        model = build({"descriptor": settings, "reference_points": reference}, elements, CUTOFF)
        self.points, self.elements, self.spacing = points, elements, spacing or FINER.get(name, SPACING)
        self.n_features = model.descriptor.n_features

        def rows(nb):
            if points == "atoms":
                return model.descriptor(nb)
            at_point = model.descriptor.at_point
            found = model.descriptor.points.over_points(nb, lambda env, w: at_point(env) * w[:, None])
            return found - at_point(_nothing(nb)) if points == "grid" else found

        self.rows = jax.jit(rows)

    def of(self, positions, symbols, cell=None, only: int | None = None) -> np.ndarray:
        """Sum over all points, or the row of one atom."""
        periodic = cell is not None
        cell = np.zeros((3, 3)) if cell is None else cell
        species = element_indices(symbols, self.elements)
        weight = 1.0
        if self.points == "grid":
            found = grid_points(positions, cell, periodic, self.spacing, CUTOFF)
            nb, weight = found.neighborhood(positions, cell, species, np.float64), found.weight
        else:
            nb = neighborhood_of(positions, cell, periodic, species, CUTOFF)
        rows = [np.asarray(self.rows(block))[:n] for block, n in _blocks(nb)]
        return weight * (np.concatenate(rows)[only] if only is not None else np.concatenate(rows).sum(axis=0))


def _nothing(nb: Neighborhood) -> Neighborhood:
    one = jnp.zeros((1, 1), jnp.int32)
    return Neighborhood(jnp.ones((1, 1, 3), nb.vectors.dtype), one[0] - 1, one, one > 0)


def _blocks(nb: Neighborhood):
    n, k = nb.mask.shape
    if k > WIDTH:
        raise SystemExit(f"a point has {k} neighbours, more than the {WIDTH} this benchmark has room for")
    for start in range(0, n, ROWS):
        part = min(ROWS, n - start)
        room = (0, ROWS - part), (0, WIDTH - k)
        yield (
            Neighborhood(*(np.pad(f[start : start + part], [*room[: f.ndim], (0, 0)][: f.ndim]) for f in nb[:4])),
            part,
        )


def cluster(elements, n=9, seed=0):
    generator = np.random.default_rng(seed)
    positions = [np.zeros(3)]
    while len(positions) < n:
        trial = generator.uniform(0, 4.2, 3)
        if min(np.linalg.norm(trial - p) for p in positions) > 1.4:
            positions.append(trial)
    return np.array(positions) + 0.13, [elements[i % len(elements)] for i in range(n)]


def difference(a, b, scale) -> float:
    return float(np.abs((a - b) / scale).max())


def invariances(features: Features) -> dict[str, float]:
    positions, symbols = cluster(features.elements)
    reference = features.of(positions, symbols)
    scale = np.abs(reference) + 1e-3 * np.abs(reference).max()
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    order = np.random.default_rng(2).permutation(len(symbols))
    cell = np.array([[4.3, 0, 0], [0.5, 4.6, 0], [-0.4, 0.7, 4.9]])
    inside, kinds = positions[:4], symbols[:4]
    once = features.of(inside, kinds, cell)
    twice = features.of(np.concatenate([inside, inside + cell[0]]), kinds * 2, cell * np.array([[2], [1], [1]]))
    return {
        "rotation": difference(features.of(positions @ rotation, symbols), reference, scale),
        "translation": difference(features.of(positions + [0.31, 0.17, 0.43], symbols), reference, scale),
        "permutation": difference(features.of(positions[order], [symbols[i] for i in order]), reference, scale),
        "supercell": difference(twice / 2, once, np.abs(once) + 1e-3 * np.abs(once).max()),
    }


def smoothness(features: Features) -> int:
    """How many derivatives are continuous as an atom leaves through the cutoff of two others; -1: not even the
    value."""
    step = 2e-3
    element = features.elements[0]

    def at(t):
        leaving = np.array([0.6, 0.8, 0.0]) * (CUTOFF + t)
        return features.of(np.array([[0.0, 0, 0], [0.0, 0, 1.7], leaving, leaving + [0, 0, 1.7]]), [element] * 4)

    near, values = at(-0.3 * CUTOFF), [at(k * step) for k in (-2, -1, 0, 1, 2)]
    typical = np.abs(near - values[-1]).max()
    slope = np.abs(values[2] - values[1]).max() / step * CUTOFF / typical
    curvature = np.abs(values[2] - 2 * values[1] + values[0]).max() / step**2 * CUTOFF**2 / typical
    if np.abs(values[2] - values[3]).max() > 1e-6 * typical:
        return -1
    return 0 if slope > 0.1 else 1 if curvature > 1.0 else 2


def has_kink(features: Features) -> bool:
    """Whether the slope jumps where an atom crosses a point of the grid."""
    step = 1e-4

    def at(t):
        return features.of(np.array([[t, 0.0, 0.0]]), [features.elements[0]])

    jump = np.abs(at(step) - 2 * at(0.0) + at(-step)).max() / step
    beside = 0.3 * features.spacing
    return bool(jump > 1e-2 * np.abs(at(beside + step) - at(beside - step)).max() / (2 * step))


def told_apart(features: Features, pairs) -> str:
    names = []
    for name, (one, other) in pairs.items():
        only = None if features.points == "grid" else 0
        a, b = (features.of(p, s, only=only) for p, s in (one, other))
        if difference(a, b, np.abs(a).max()) > 1e-6:
            names.append(name)
    return ", ".join(names) or "none"


def degenerate_pairs():
    """Scaled to fit the cutoff from atom 0: degeneracy does not depend on size."""
    from ase.io import read

    pairs: dict[str, list] = {}
    frames = read(DATA, ":")
    for frame in frames:
        relative = frame.positions - frame.positions[0]
        scaled = relative * (0.45 * CUTOFF / np.linalg.norm(relative, axis=1).max())
        pairs.setdefault(str(frame.info["pair"]).replace("_bispectrum", "").replace("_", " "), []).append(
            (scaled + 0.13, frame.get_chemical_symbols())
        )
    return pairs, tuple(sorted({s for frame in frames for s in frame.get_chemical_symbols()}))


def microseconds(name: str, points: str) -> tuple[float, float]:
    """Features of silicon in single precision, neighbour list apart: µs an atom, and points an atom."""
    from ase.build import bulk

    atoms = bulk("Si", cubic=True) * 3
    atoms.rattle(0.05, seed=0)
    features, species = Features(name, points, ("Si",)), np.zeros(len(atoms), np.int32)
    if points == "grid":
        nb = grid_points(atoms.positions, atoms.cell.array, True, FINER.get(name, SPACING), CUTOFF).neighborhood(
            atoms.positions, atoms.cell.array, species, np.float32
        )
    else:
        nb = neighborhood_of(atoms.positions, atoms.cell.array, True, species, CUTOFF, np.float32)
    blocks = [jax.device_put(block) for block, _ in _blocks(nb)][:24]
    share = min(1.0, len(blocks) * ROWS / len(nb.species))
    return best(lambda: [jax.block_until_ready(features.rows(b)) for b in blocks]) / (share * len(atoms)) * 1e6, len(
        nb.species
    ) / len(atoms)


def best(function, repeats: int = 5) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def dscribe_microseconds() -> dict[str, float]:
    from ase.build import bulk
    from dscribe.descriptors import ACSF, SOAP

    atoms = bulk("Si", cubic=True) * 3
    atoms.rattle(0.05, seed=0)
    g2 = [[0.5 / (0.5 + 0.6 * i) ** 2, 0.0] for i in range(6)] + [[1.4, 0.5 + 0.6 * i] for i in range(6)]
    g4 = [[0.1 * (i + 1), z, s] for i in range(4) for z in (1, 4) for s in (1, -1)]
    rivals = {
        "acsf": ACSF(species=["Si"], r_cut=CUTOFF, g2_params=g2, g4_params=g4, periodic=True),
        "soap": SOAP(species=["Si"], r_cut=CUTOFF, n_max=6, l_max=4, sigma=0.5, periodic=True),
    }
    return {name: best(lambda r=rival: r.create(atoms), 2) / len(atoms) * 1e6 for name, rival in rivals.items()}


def egg_box(name: str, elements, spacing: float) -> float:
    """Largest change of any summed feature as a cluster is moved across the grid."""
    features = Features(name, "grid", elements, spacing)
    positions, symbols = cluster(elements)
    values = np.array(
        [features.of(positions + f * spacing * np.array([1.0, 0.7, 0.3]), symbols) for f in (0.0, 0.25, 0.5)]
    )
    scale = np.abs(values[0]) + 1e-3 * np.abs(values[0]).max()
    return float((np.ptp(values, axis=0) / scale).max())


def report(names) -> str:
    pairs, elements = degenerate_pairs()
    rivals = dscribe_microseconds()
    small = "{:.0e}".format
    lines = [
        "| descriptor | seen from | features for 1, 2, 4 elements | rotation | translation | permutation | supercell | "
        "continuous derivatives | degenerate pairs told apart | µs an atom | DScribe |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    eggs = ["| descriptor | 1.0 Å | 0.8 Å | 0.6 Å | 0.4 Å |", "|---|---|---|---|---|"]
    for name in names:
        numbers = [build({"descriptor": {"name": name, **SETTINGS.get(name, {})}}, e, CUTOFF).descriptor.n_features
                   for e in (("Si",), ("Si", "O"), ("Si", "O", "Al", "H"))]  # fmt: skip
        for points in POINTS:
            with jax.enable_x64(True):
                features = Features(name, points, elements, FINER.get(name, SPACING) if points == "grid" else None)
                found, apart = invariances(features), told_apart(features, pairs)
                # The same functions of the distance as from atoms, and more places to meet them.
                if points == "atoms":
                    order = smoothness(features)
                elif points == "grid" and has_kink(features):
                    order = f"{order}, kinks at points"
            cost, per_atom = microseconds(name, points)
            of = f" ({per_atom:.0f} points)" if points == "grid" else ""
            rival = f"{rivals[name]:.0f}" if name in rivals and points == "atoms" else ""
            cells = [name, points, ", ".join(map(str, numbers)), *(small(v) for v in found.values())]
            lines.append(f"| {' | '.join(cells)} | {order} | {apart} | {cost:.1f}{of} | {rival} |")
            print(lines[-1], flush=True)
        with jax.enable_x64(True):
            row = []
            for spacing in (1.0, 0.8, 0.6, 0.4):
                try:
                    row.append(small(egg_box(name, elements, spacing)))
                except Exception as error:  # a grid too coarse for this descriptor is refused: that is the answer
                    if "too coarse" not in str(error):
                        raise
                    row.append("refused")
        eggs.append(f"| {name} | " + " | ".join(row) + " |")
        print(eggs[-1], flush=True)
    return "\n".join([*lines, "", "Egg-box error of the summed features against the spacing:", "", *eggs])


def main() -> None:
    from jax_models.descriptors import DESCRIPTORS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    configure()
    local = [name for name, kind in sorted(DESCRIPTORS.items()) if not getattr(kind, "whole_cell", False)]
    table = report(options.only.split(",") if options.only else local)
    if options.write:
        page = options.write.read_text()
        before, after = page.split(MARKS[0])[0], page.split(MARKS[1])[1]
        options.write.write_text(f"{before}{MARKS[0]}\n\n{table}\n\n{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
