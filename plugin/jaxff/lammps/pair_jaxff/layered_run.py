"""One step of a potential with layers in LAMMPS: blocks that C++ fills, and the exchanges it is asked for."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np

from jax_models.neighborhood import bucket
from jax_models.systems.layered_evaluator import (
    BlockResults,
    Exchange,
    LayeredEvaluator,
    LayeredWorkspace,
    MessageRows,
)


class LayeredRun:
    """Blocks of one ``pair_coeff`` line, reused from step to step.

    Attributes:
        results: after the last `advance`, energies [B] and dE/dvectors [B, K, 3] of each block; and the grade [B],
            where it was wanted.
    """

    def __init__(self, evaluator: LayeredEvaluator):
        self.evaluator = evaluator
        self.results: list[tuple[np.ndarray, ...]] = []
        self._blocks: list[LayeredWorkspace] = []
        self._steps: Generator[Exchange, None, BlockResults]
        self._message_rows = MessageRows()

    def block(self, number: int, rows: int, n_neighbors: int) -> LayeredWorkspace:
        """Block ``number`` of the coming step, all blocks of one step having the same size."""
        shape = rows, bucket(max(n_neighbors, 1))
        if number == len(self._blocks):
            self._blocks.append(self.evaluator.new_workspace(*shape))
        elif self._blocks[number].mask.shape != shape:
            self._blocks[number] = self.evaluator.new_workspace(*shape)
        return self._blocks[number]

    def start(self, n_blocks: int, n_atoms: int, needed: Sequence[int], graded: bool = False) -> None:
        self.results = []
        self._steps = self.evaluator.steps(self._blocks[:n_blocks], self._message_rows(n_atoms), needed, graded)

    def advance(self) -> Exchange | None:
        """The next exchange, or None when the results are there."""
        try:
            return next(self._steps)
        except StopIteration as finished:
            self.results = [tuple(map(np.ascontiguousarray, arrays)) for arrays in finished.value]
            return None
