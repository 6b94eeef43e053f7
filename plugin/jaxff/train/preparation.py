"""What is known of a training before it starts: whether it can be done, what it will be, and what looks wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jax_models import Potential
from jax_models.models import build, completed, sees_grid, sees_whole_cell
from jax_models.training.data.duplicates import copies, equal_structures
from jax_models.training.data.label_checks import suspicions
from jax_models.training.data.structures import CUTOFFS, Structure, elements_of
from jax_models.training.gradient.loop import Plan
from jax_models.training.linear.equations import check_linear
from jaxff.config import PUBLISHED_CUTOFF, Config
from jaxff.io import label_names, read_frames
from jaxff.train.memory import Neighbors, check_memory
from jaxff.train.training_data import TrainingData

SECONDS_A_VISIT = {"local": 1e-6, "message_passing": 1e-5, "global": 1e-4}
"""Of a neighbour seen once in training, on two cores of 2024, by the kind of model."""
SECONDS_A_STEP = 0.01
SECONDS_OF_COMPILING = 20.0


def check_architecture(config: Config, elements: tuple[str, ...] = ("H",), cutoff: float | None = None) -> Any:
    """The model that ``config`` asks for, with shapes in the place of arrays: building it finds wrong settings.

    Before the data are read, elements and cutoff are only examples.

    Raises:
        ConfigError: an unknown name or setting, a value out of range, or a model that ``training.method`` cannot train.
    """
    if cutoff is None:
        cutoff = config.model.cutoff or (CUTOFFS[1] if config.model.name is None else PUBLISHED_CUTOFF)
    architecture = config.model.architecture()
    linear = config.settings().method == "linear"
    if linear and "name" not in architecture:
        architecture = {"readout": {"name": "linear"}, **architecture}
    model = eqx.filter_eval_shape(build, architecture, elements, cutoff)
    if linear:
        check_linear(model)
    return model


@dataclass(frozen=True)
class Preparation:
    """A training that could start now."""

    data: TrainingData
    config: Config
    architecture: dict[str, Any]
    elements: tuple[str, ...]
    cutoff: float
    held_out: list[Structure]
    """What validates it: not seen in training."""
    neighbors: Neighbors
    parameters: int
    kind: str

    @staticmethod
    def of(data: TrainingData, config: Config, start: Potential | None = None) -> Preparation:
        """
        Raises:
            ConfigError: a model that cannot be built for these elements, or data that do not fit into the memory.
        """
        elements = elements_of(data.structures)
        if start is None:
            given, cutoff, settings = data.model(config)
            model = check_architecture(config, elements, cutoff)
            # Which distances the default repulsion gets is known only when neighbours are found.
            repelled = "priors" not in given and not sees_grid(given) and not sees_whole_cell(given)
            architecture = completed(given | ({"priors": [{"name": "zbl"}]} if repelled else {}))
        else:
            architecture, cutoff, settings, model = start.architecture, start.cutoff, config.settings(), start.model
            elements = (*start.elements, *(e for e in elements if e not in start.elements))
        on_grid = "grid" in str(architecture.get("reference_points"))
        spacing = getattr(build(architecture, elements, cutoff), "spacing", 0.0) if on_grid else 0.0
        structures = [*data.structures, *(t.structure for t in data.unlabelled)]
        batch = settings.batch_structures if settings.method != "linear" else 1
        whole_cell = sees_whole_cell(architecture)
        neighbors = Neighbors(0.0, 0.0, 0.0, 0.0) if whole_cell else check_memory(structures, cutoff, spacing, batch)
        sizes = (leaf.shape for leaf in jax.tree.leaves(model) if hasattr(leaf, "shape"))
        held_out = [] if settings.method == "linear" else data.validates_with(settings)
        parameters = sum(math.prod(shape) for shape in sizes)
        return Preparation(data, config, architecture, elements, cutoff, held_out, neighbors, parameters, model.kind)

    @property
    def epochs(self) -> int:
        has_forces = any(s.forces is not None for s in self.data.structures)
        return Plan.of(self.config.settings(), int(self.neighbors.total), has_forces).epochs

    def seconds(self) -> float:
        """Of a training by gradients, roughly."""
        settings = self.config.settings()
        steps = self.epochs * max(8, math.ceil(len(self.data.structures) / settings.batch_structures))
        visits = self.epochs * self.neighbors.total
        return max(visits * SECONDS_A_VISIT[self.kind], steps * SECONDS_A_STEP) + SECONDS_OF_COMPILING

    def warnings(self) -> Iterator[str]:
        """What a user should know before the training starts; the text says what to do."""
        data, settings = self.data, self.config.settings()
        if all(s.forces is None for s in data.structures if not s.isolated):
            yield _without_forces(self.config, data.files)
        linear = settings.method == "linear"
        if not self.held_out and not linear:
            yield (
                f"nothing is held out: no config_type has the {math.ceil(1 / max(settings.validation_fraction, 1e-9))} "
                "different structures that give one for validation. All errors shown are of the training data and "
                "say nothing of new structures; give more data, --valid FILE, or a larger training.validation_fraction"
            )
        groups = equal_structures(data.structures)
        twice = len(data.structures) - len(groups)
        if twice:
            first = next([data.structures[n].name for n in group] for group in groups if len(group) > 1)
            kept = "" if linear else "; copies stay together, in training or in validation"
            yield f"{twice} of {len(data.structures)} structures are copies of others ({first[0]} and {first[1]}){kept}"
        given = data.validation or [t.structure for t in data.held_out or ()]
        seen = copies(given, data.structures)
        if seen:
            yield (
                f"{len(seen)} of {len(given)} validation structures are in the training data too "
                f"({given[seen[0]].name}): their errors say nothing of new structures"
            )
        yield from map(str, suspicions([*data.structures, *given]))

    def report(self, console: Console) -> None:
        """Print what would be trained."""
        table = Table(title="What would be trained", show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        settings, held_out = self.config.settings(), self.held_out
        given = self.data.validation is not None or self.data.held_out is not None
        n_train = len(self.data.structures) - (0 if given else len(held_out))
        sizes = sorted(len(s) for s in self.data.structures)
        method = settings.method or "gradient"
        rows = {
            "elements": ", ".join(self.elements),
            "structures": f"{n_train} to train on, of {sizes[0]} to {sizes[-1]} atoms",
            "held out": f"{len(held_out)} structures" if held_out else "nothing",
            "model": _described(self.architecture),
            "cutoff": "none"
            if self.kind == "global"
            else f"{self.cutoff:g} Å, {self.neighbors.average:.0f} neighbours",
            "parameters": f"{self.parameters:,}",
            "method": method + ("" if method == "linear" else f", at most {self.epochs} epochs"),
            "memory": f"about {0.5 + self.neighbors.bytes / 2**30:.1f} GiB",
        }
        if method == "gradient":
            rows["time"] = f"about {_duration(self.seconds())} on two CPU cores"
        for name, value in rows.items():
            table.add_row(name, escape(value))
        console.print(table)
        console.print("nothing was written", highlight=False)


def _without_forces(config: Config, files: Sequence[Path]) -> str:
    present = ", ".join(label_names(atoms for path in files for atoms in read_frames(path))) or "no labels"
    return (
        f"no frame has forces: there is no {config.data.forces_key!r} among {present}. The model learns from energies "
        "alone, and much worse; if another of these holds forces, say so: --set data.forces_key=NAME"
    )


def _described(architecture: dict[str, Any]) -> str:
    if "name" in architecture:
        settings = {key: value for key, value in architecture.items() if key not in ("name", "priors")}
        parts = [f"{architecture['name']} {settings}"]
    else:
        parts = []
        for key in ("descriptor", "reference_points", "readout"):
            if key in architecture:
                part = dict(architecture[key])
                parts.append(f"{part.pop('name')} {part}" if part else part["name"])
    return "; ".join([*parts, *(f"{prior['name']}" for prior in architecture.get("priors", []))])


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{max(seconds / 60, 1):.0f} min"
