"""A message-passing potential, evaluated layer by layer on blocks of centres, with messages exchanged in between.

`LayeredEvaluator.steps` is a generator: it stops wherever messages must move between ranks, and says which array and in
which direction. An engine with several ranks moves them and goes on; where periodic images are folded to the atoms
themselves there is nothing to move. Every rank stops equally often, whatever atoms it has, so none waits for another.
"""

from __future__ import annotations

import functools
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from jax_models.message_passing.stages import Centers, Stages
from jax_models.neighborhood import Neighborhood, bucket
from jax_models.systems.evaluator import Evaluator, Workspace

CPU_BLOCK = 64
"""Centres a block on a CPU: a layer's temporaries are K x F numbers a centre, and should stay in the cache."""
WIDE, WIDE_BLOCK = 600, 8
"""Radial functions of a layer from which on fewer centres make a block. Nequix (1312 of them) took 9.3 ms an atom and
step in blocks of 64 centres, and 3.8 ms in blocks of 8 (one core, 2 MB of second-level cache)."""
ROOM = 1.03
"""Rows allocated beyond the atoms there are, since ghosts come and go and a new size compiles."""


@dataclass
class LayeredWorkspace(Workspace):
    """A block of centres that knows where its atoms stand among all."""

    neighbors: Int[np.ndarray, "B K"]
    """int32, rows of the message array."""
    centers: Int[np.ndarray, " B"]
    """int32, each centre's own row; negative for padding."""
    weights: Float[np.ndarray, " B"]
    """1 where the energy counts, else 0."""


@dataclass
class Exchange:
    """What must happen before the next step: on the way forward, rows of ghosts are filled from their owners; on the
    way back, rows of ghosts are added to their owners'. ``array`` [A, F] is changed in place."""

    array: np.ndarray
    forward: bool


BlockResults = list[tuple[np.ndarray, ...]]


class MessageRows:
    """Rows of the message array; their number is kept while it suffices and is not far too large."""

    def __init__(self) -> None:
        self._rows = 0

    def __call__(self, n_atoms: int) -> int:
        """Rows for ``n_atoms``, ghosts included."""
        if not n_atoms <= self._rows <= 1.3 * max(n_atoms, 64):
            self._rows = bucket(int(ROOM * n_atoms) + 1, 64)
        return self._rows


class LayeredEvaluator(Evaluator):
    """`Evaluator` of a message-passing potential; see there for the arguments."""

    cpu_block = CPU_BLOCK

    @property
    def largest_block(self) -> int:
        largest = super().largest_block
        return min(largest, WIDE_BLOCK) if self._wide and self.device.platform == "cpu" else largest

    @functools.cached_property
    def _wide(self) -> bool:
        model: Any = self.potential.model
        return model.radial_width() >= WIDE

    # Made when first used: of a potential that knows many elements, engines run a part only.
    @functools.cached_property
    def stages(self) -> Stages:
        model: Any = self.potential.model
        grade = None if self.potential.uncertainty is None else self.potential.uncertainty.grade
        return Stages(model if self._double else model.tabulated(), grade)

    @functools.cached_property
    def message_widths(self) -> list[int]:
        """Numbers that an atom sends before each layer from the second on."""
        return self.stages.message_widths()

    @property
    def compilations(self) -> int:
        return self.stages.compilations() + (0 if self._members is None else self._members._cache_size())

    def new_workspace(self, block: int, n_neighbors: int) -> LayeredWorkspace:
        local = super().new_workspace(block, n_neighbors)
        return LayeredWorkspace(
            **vars(local),
            neighbors=np.zeros(local.mask.shape, np.int32),
            centers=np.full(block, -1, np.int32),
            weights=np.zeros(block, self.dtype),
        )

    def run_members(self, workspace: Any) -> tuple[Float[np.ndarray, "M B"], Float[np.ndarray, "M B K 3"]]:
        """As `Evaluator.run_members`, of all atoms in one workspace: neighbours are its rows."""
        with jax.enable_x64(self._double), jax.default_device(self.device):
            found = self._members(*(getattr(workspace, name) for name in Neighborhood._fields))
        return np.asarray(found[0]), np.asarray(found[1])

    def run_all(self, blocks: Sequence[LayeredWorkspace], capacity: int, graded: bool = False) -> BlockResults:
        """As `steps`, where each atom is some block's centre, so that nothing has to be exchanged."""
        steps = self.steps(blocks, capacity, graded=graded)
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                return finished.value

    def steps(
        self,
        blocks: Sequence[LayeredWorkspace],
        capacity: int,
        needed: Sequence[int] | None = None,
        graded: bool = False,
    ) -> Generator[Exchange, None, BlockResults]:
        """Evaluate ``blocks``, stopping at each exchange.

        Args:
            blocks: all centres.
            capacity: rows of the message array, from `MessageRows`: atoms a neighbour or centre may be, ghosts
                included.
            needed: for each layer, how many of the first blocks it must be evaluated on; all, unless ghosts are
                centres too, which the last layers need not reach.
            graded: whether the extrapolation grade is wanted; only of potentials with an uncertainty.

        Returns:
            for each block, energies [B] (eV, without reference energies) and dE/dvectors [B, K, 3] (eV/Å); and the
            grade [B], where it is wanted.
        """
        last = self.stages.n_layers - 1
        needed = needed or [len(blocks)] * (last + 1)
        centers = [self._centers(block, capacity) for block in blocks]
        energies: list[list] = [[] for _ in blocks]
        gradients: list[list] = [[] for _ in blocks]
        grades: list = [None] * len(blocks)

        def run(step, *arguments):
            with jax.enable_x64(self._double), jax.default_device(self.device):
                return step(*arguments)

        if last == 0:
            for b, block in enumerate(centers[: needed[0]]):
                energy, gradient, grades[b] = run(self.stages.only, block, graded)
                energies[b], gradients[b] = [energy], [gradient]
            return self._collect(blocks, energies, gradients, grades)

        own: list[list] = [[] for _ in range(last)]
        messages: list = []
        for t in range(last):
            sent = []
            for b, block in enumerate(centers[: needed[t]]):
                energy, result, message = (
                    run(self.stages.start, block)
                    if t == 0
                    else run(self.stages.forward, t, block, own[t - 1][b], messages[-1])
                )
                energies[b].append(energy)
                own[t].append(result)
                sent.append(message)
            array = self._message_array(t, blocks, sent, capacity)
            yield Exchange(array, forward=True)
            messages.append(run(jax.device_put, array.copy()))

        d_own: list = [None] * len(blocks)
        d_messages = run(jax.numpy.zeros_like, messages[-1])
        for b, block in enumerate(centers[: needed[last]]):
            energy, gradient, d_own[b], d_messages, grades[b] = run(
                self.stages.last, block, own[-1][b], messages[-1], d_messages, graded
            )
            energies[b].append(energy)
            gradients[b].append(gradient)
        for t in range(last - 1, -1, -1):
            array = np.array(d_messages)
            yield Exchange(array, forward=False)
            above = run(jax.device_put, array)
            d_messages = run(jax.numpy.zeros_like, messages[t - 1]) if t else None
            for b, block in enumerate(centers[: needed[t]]):
                if d_own[b] is None:
                    d_own[b] = run(jax.tree.map, jax.numpy.zeros_like, own[t][b])
                if t:
                    step = (self.stages.backward, t, block, own[t - 1][b], messages[t - 1], d_own[b], above, d_messages)
                    gradient, d_own[b], d_messages = run(*step)
                else:
                    gradient = run(self.stages.finish, block, d_own[b], above)
                gradients[b].append(gradient)
        return self._collect(blocks, energies, gradients, grades)

    def _centers(self, block: LayeredWorkspace, capacity: int) -> Centers:
        rows = np.where(block.centers < 0, capacity, block.centers).astype(np.int32)
        nb = Neighborhood(block.vectors, block.species, block.neighbor_species, block.mask, block.neighbors)
        arrays: Any = rows, block.weights
        return Centers(nb, *arrays)

    def _message_array(self, t: int, blocks: Sequence[LayeredWorkspace], sent: list, capacity: int) -> np.ndarray:
        array: np.ndarray = np.zeros((capacity, self.message_widths[t]), self.dtype)
        for block, message in zip(blocks, jax.device_get(sent), strict=False):
            owned = block.centers >= 0
            array[block.centers[owned]] = message[owned]
        return array

    def _collect(
        self, blocks: Sequence[LayeredWorkspace], energies: list[list], gradients: list[list], grades: list
    ) -> BlockResults:
        return [
            (
                sum((np.asarray(e) for e in energy), np.zeros(len(block.species), self.dtype)),
                sum((np.asarray(g) for g in gradient), np.zeros_like(block.vectors)),
                *([] if grade is None else [np.asarray(grade)]),
            )
            for block, energy, gradient, grade in zip(blocks, energies, gradients, grades, strict=True)
        ]
