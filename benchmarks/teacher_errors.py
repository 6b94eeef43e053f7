"""How far empirical potentials are from DFT on mlearn, with and without a factor fitted beside the zero of energy.

    python benchmarks/teacher_errors.py --out FOLDER [--elements Si Cu Mo] [--labels 5 10 20 50] [--draws 20]

Of an element's training frames a random few are labelled (the mean of several draws); errors are those of the others,
MAE in meV/atom: of all teachers in the mean, of the one that is best on the labelled frames, and of the best for each
frame, which is what a perfect classifier would choose. FOLDER is that of benchmarks/knowledge.py.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from knowledge import ROOT, Element


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--elements", nargs="*", default=["Si", "Cu", "Mo"])
    parser.add_argument("--labels", nargs="*", type=int, default=[5, 10, 20, 50])
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    from jax_models.training.teachers.teacher_labels import aligned, energy_errors

    print(
        "| element | labels | factor | all teachers | best on the labels | best for each frame "
        "|\n|---|---|---|---|---|---|"
    )
    for name in options.elements:
        element = Element(name, options.data, options.out)
        for labels in options.labels:
            for scale in (False, True):
                found = []
                for seed in range(options.draws):
                    known, others = element.parts(labels, "energies", seed)
                    moved = aligned([*known, *others], [name], 200.0, scale)
                    of_known, taught = energy_errors(moved[: len(known)]), moved[len(known) :]
                    # The labels that the others were stripped of.
                    true = [element.structures[n].energy for n in element.stripped(labels, seed)]
                    left = [
                        dataclasses.replace(t, structure=dataclasses.replace(t.structure, energy=e))
                        for t, e in zip(taught, true, strict=True)
                    ]
                    errors = 1e3 * energy_errors(left)
                    errors = errors[:, np.isfinite(errors).all(axis=0)]
                    best = 1e3 * energy_errors(left)[:, of_known.mean(axis=0).argmin()]
                    found.append([errors.mean(), best.mean(), errors.min(axis=1).mean()])
                print(
                    f"| {name} | {labels} | {'yes' if scale else 'no'} |",
                    " | ".join(f"{v:.1f}" for v in np.mean(found, axis=0)),
                    "|",
                    flush=True,
                )


if __name__ == "__main__":
    main()
