"""Few DFT labels and many of empirical potentials: what the strategies of docs/knowledge.md bring on mlearn.

    python benchmarks/knowledge.py run --out FOLDER [--elements Si Mo Cu] [--labels 10 20 50 100 all] [--seeds 0 1 2]
                                       [--models ace schnet] [--modes energies forces] [--visits 5e6] [--minutes M]
    python benchmarks/knowledge.py report --out FOLDER [--docs docs]

`run` appends one line a training to FOLDER/results.jsonl and does what is not there yet; so it can be stopped and
started. Of an element's training frames, a random few keep their DFT labels, the others are stripped of them; teachers
(benchmarks/teachers) label all. Errors are on the test frames. "energies": no forces or stresses anywhere, as in the
paper; "forces": DFT's and the teachers'; "teachers' forces": DFT's energies alone, but the teachers' forces. `report`
writes the table and the plots.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
STRATEGIES = ("baseline", "weak", "transfer", "both", "delta")
CHOSEN = "_chosen"
"""After the name of a strategy: with the weight chosen by cross-validation, which is the default and takes four times
as long."""
MODES = ("energies", "teacher_forces", "forces")
MODELS: dict[str, dict[str, Any]] = {
    "ace": {"descriptor": {"name": "ace", "n_channels": 8, "l_max": 2}},
    "schnet": {"name": "schnet", "n_atom_basis": 32, "n_interactions": 2},
}
CUTOFF = 5.0
WEIGHT = 1.0
"""Of the teachers' labels in weak supervision; the default chooses among several, at the cost of as many trainings."""


class Element:
    """An element's frames with everybody's labels."""

    def __init__(self, element: str, data: Path, folder: Path):
        from jaxff.io import Labels, read_structures
        from jaxff.knowledge.teacher_label_files import read_teacher_files, teacher_names

        labelled, test = folder / f"{element}_train.xyz", folder / f"{element}_test.xyz"
        for part, out in (("train", labelled), ("test", test)):
            if not out.exists():
                command = [
                    "label",
                    data / f"mlearn/{element}_{part}.xyz.xz",
                    "--teachers",
                    ROOT / f"benchmarks/teachers/{element}.yaml",
                    "--out",
                    out,
                ]
                subprocess.run([sys.executable, "-m", "jaxff.cli.app", *map(str, command)], check=True)
        self.element = element
        self.opinions, self.structures = read_teacher_files([labelled], Labels())
        self.test_opinions, _ = read_teacher_files([test], Labels())
        self.test = read_structures(test)
        self.names = teacher_names(self.opinions)

    def stripped(self, labels: int | None, seed: int) -> list[int]:
        """The training frames that lose their DFT labels; more labels keep the frames that fewer do."""
        order = np.random.default_rng([seed, 100]).permutation(len(self.structures))
        return [] if labels is None else sorted(order[labels:].tolist())

    def parts(self, labels: int | None, mode: str, seed: int) -> tuple[list, list]:
        """Labelled and unlabelled structures; the same few for every strategy and mode."""
        from jaxff.knowledge.teacher_label_files import teacher_labels_of

        stripped = set(self.stripped(labels, seed))
        parts: tuple[list, list] = [], []
        for number, (said, structure) in enumerate(zip(self.opinions, self.structures, strict=True)):
            bare = {} if mode == "forces" else {"forces": None, "virial": None}
            if number in stripped:
                bare = {"energy": np.nan, "forces": None, "virial": None}
            parts[number in stripped].append(
                teacher_labels_of(said, dataclasses.replace(structure, **bare), self.names)
            )
        return parts

    def errors(self, potential: Any) -> dict[str, float]:
        """On the test frames; a delta model's are those of the sum with its teacher."""
        import equinox as eqx

        from jax_models.training.data.batches import common_shape, prepare
        from jax_models.training.gradient.losses import errors
        from jax_models.training.gradient.metrics import fixed_batches, measure

        structures = [dataclasses.replace(s, virial=None) for s in self.test]
        delta = potential.provenance.get("delta")
        if delta is not None:
            said = [opinion[delta["teacher"]] for opinion in self.test_opinions]
            structures = [
                dataclasses.replace(s, energy=s.energy - o["energy"], forces=s.forces - o["forces"])
                for s, o in zip(structures, said, strict=True)
            ]
        prepared = [prepare(s, potential.elements, potential.reference_energies, potential.cutoff) for s in structures]
        return measure(eqx.filter_jit(errors), potential.model, fixed_batches(prepared, common_shape(prepared, 4)))


def train_one(
    element: Element, model: str, mode: str, labels: int | None, strategy: str, seed: int, visits: float
) -> Any:
    """The potential of one entry of the table."""
    from jax_models.training.gradient.trainer import train
    from jax_models.training.settings import Settings
    from jax_models.training.teachers.knowledge_settings import Knowledge
    from jax_models.training.teachers.teacher_training import train_with_knowledge

    labelled, unlabelled = element.parts(labels, mode, seed)
    # Weak supervision is one training where transfer is two: it gets the neighbours of both.
    factor = 2 if strategy.startswith("weak") else 1
    settings = Settings(seed=seed, neighbor_visits=factor * visits, validation_fraction=0.0)
    if strategy == "baseline":
        return train([t.structure for t in labelled], MODELS[model], CUTOFF, settings).potential
    choice = {} if strategy.endswith(CHOSEN) else {"weight": (WEIGHT,)}
    knowledge = Knowledge(strategy.removesuffix(CHOSEN), forces=mode != "energies", **choice)
    return train_with_knowledge(
        labelled, unlabelled, element.names, MODELS[model], CUTOFF, settings, knowledge
    ).potential


def run(options: argparse.Namespace) -> None:
    from jaxff.runtime import configure

    configure()
    options.out.mkdir(parents=True, exist_ok=True)
    results = options.out / "results.jsonl"
    done = {tuple(json.loads(line)["key"]) for line in results.read_text().splitlines()} if results.exists() else set()
    elements: dict[str, Element] = {}
    started = time.monotonic()
    labels = [None if n == "all" else int(n) for n in options.labels]
    # The most telling part first: whatever time there is, the table is complete from the left.
    order = itertools.product(
        options.models, options.elements, options.modes, options.seeds, labels, options.strategies
    )
    for model, name, mode, seed, n, strategy in order:
        key = (model, name, mode, n, strategy, seed)
        if (
            key in done
            or (n is None and strategy != "delta" and strategy != "baseline")
            or (mode == "teacher_forces" and strategy in ("baseline", "delta"))
        ):
            continue  # with all labels kept nothing is left for teachers to label
        if time.monotonic() - started > 60 * options.minutes:
            print("time is up; the same command goes on here")
            return
        if name not in elements:
            elements[name] = Element(name, options.data, options.out)
        began = time.process_time()
        potential = train_one(elements[name], model, mode, n, strategy, seed, options.visits)
        record = {"key": key, **elements[name].errors(potential), "seconds": time.process_time() - began}
        record["knowledge"] = potential.provenance.get("knowledge")
        with results.open("a") as file:
            print(json.dumps(record), file=file, flush=True)
        print(
            *key,
            f"{1e3 * record['energy_mae']:.1f} meV/atom {record['force_mae']:.3f} eV/A {record['seconds']:.0f} s",
            flush=True,
        )


def report(options: argparse.Namespace) -> None:
    from knowledge_report import write_report

    lines = {
        name: (options.out / name).read_text().splitlines()
        for name in ("results.jsonl", "robustness.jsonl")
        if (options.out / name).exists()
    }
    found = {name: [json.loads(line) for line in of_file] for name, of_file in lines.items()}
    settings = {
        "models": "; ".join(f"{name}: {_settings_of(MODELS[name])}" for name in MODELS),
        "visits": 1e-6 * options.visits,
        "weight": WEIGHT,
    }
    write_report(found["results.jsonl"], found.get("robustness.jsonl", []), settings, options.docs)


def _settings_of(model: dict[str, Any]) -> str:
    settings = model.get("descriptor", model)
    return ", ".join(f"{key} {value}" for key, value in settings.items() if key != "name")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "report"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--elements", nargs="*", default=["Si", "Cu", "Mo"])
    parser.add_argument("--labels", nargs="*", default=["10", "20", "50", "100", "all"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--modes", nargs="*", default=list(MODES))
    parser.add_argument("--strategies", nargs="*", default=list(STRATEGIES))
    parser.add_argument("--visits", type=float, default=5e6, help="neighbours seen in a training")
    parser.add_argument("--minutes", type=float, default=np.inf)
    options = parser.parse_args()
    {"run": run, "report": report}[options.command](options)


if __name__ == "__main__":
    main()
