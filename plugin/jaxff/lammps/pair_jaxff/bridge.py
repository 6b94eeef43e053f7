"""The Python end of ``pair_style jaxff``: a table of C functions that open and evaluate potentials.

Its structures are those of ``plugin/pair_jaxff/abi.h``; ctypes takes the GIL around every call. An exception never
crosses into C++: the call returns 1 and the text, one line, is in the table.
"""

from __future__ import annotations

import atexit
import ctypes
import itertools
import os
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from jax_models.errors import JaxffError
from jaxff.lammps.pair_jaxff import abi

if TYPE_CHECKING:
    import jax

    from jax_models.systems.evaluator import Evaluator, Workspace
    from jaxff.lammps.pair_jaxff.strategies import Strategy


class OpenModel:
    """One ``pair_coeff`` line: the strategy, and what C++ holds pointers to."""

    def __init__(self, strategy: Strategy, banner: str, needs: str):
        import numpy as np

        potential = strategy.potential
        # Any: which of the functions below C++ calls depends on the strategy.
        self.strategy: Any = strategy
        self.results: tuple = ()
        self.reference_energies = np.ascontiguousarray(potential.reference_energies, float)
        self.elements = " ".join(potential.elements).encode()
        self.banner, self.needs = banner.encode(), needs.encode()
        self.citation = potential.contract.citation.encode()

    def describe(self, model: abi.Model) -> None:
        potential = self.strategy.potential
        model.cutoff = potential.cutoff
        model.n_elements = len(potential.elements)
        model.real_bytes = self.strategy.evaluator.dtype().itemsize
        model.elements = self.elements
        model.reference_energies = self.reference_energies.ctypes.data
        model.banner = self.banner
        model.citation = self.citation
        model.needs = self.needs
        model.strategy = self.strategy.code
        model.layers = potential.contract.layers
        model.message_columns = self.strategy.message_columns
        uncertainty = potential.uncertainty
        model.graded = uncertainty is not None
        if uncertainty is not None:
            model.bar, model.smallest_force = float(uncertainty.bar), float(uncertainty.smallest_force)
            model.grade_exponent, model.force_exponent = map(float, uncertainty.exponents)

    def point_to(self, result: abi.Result, energies: Any, gradient: Any, grades: Any = None) -> None:
        self.results = energies, gradient, grades  # C++ reads them until the next call
        result.energies = energies.__array_interface__["data"][0]
        result.gradient = gradient.__array_interface__["data"][0]
        result.grades = None if grades is None else grades.__array_interface__["data"][0]
        result.compilations = self.strategy.compilations


_models: dict[int, OpenModel] = {}
_handles = itertools.count(1)
_recent: dict[tuple, Evaluator] = {}
"""Evaluators by file state and settings: `clear` and a second simulation need not compile again."""
MOST_RECENT = 4


def install(address: int, version: int) -> None:
    """Write the address of the function table to ``address``, a pointer of the plugin's.

    Raises:
        RuntimeError: the plugin was built from another version of jaxff.
    """
    if version != abi.ABI:
        raise RuntimeError(
            f"jaxffplugin.so speaks version {version} of the interface, this jaxff {abi.ABI}; install jaxff again"
        )
    ctypes.c_void_p.from_address(address).value = ctypes.addressof(_table)


def _guarded(function: Callable[..., None]) -> Callable[..., int]:
    def call(*arguments: Any) -> int:
        try:
            function(*arguments)
        except BaseException as error:  # even KeyboardInterrupt must not unwind through C++
            _table.error = one_line(error).encode()[:1000]
            return 1
        return 0

    return call


def one_line(error: BaseException) -> str:
    """A message for LAMMPS's ``ERROR:`` line; what is not a user's mistake names its place."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, JaxffError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    place = f" (Python, {os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


def _open(settings_pointer: Any, model_pointer: Any) -> None:
    settings, model = settings_pointer.contents, model_pointer.contents
    path, precision, device = (value.decode() for value in (settings.file, settings.precision, settings.device))
    symbols = [symbol for symbol in settings.symbols.decode().split() if symbol != "NULL"]
    ranks = settings.rank_on_node, settings.ranks_on_node
    evaluator, threads = open_evaluator(path, precision, device, settings.threads, *ranks, symbols=symbols)
    from jaxff.lammps.overlay import overlay_line
    from jaxff.lammps.pair_jaxff.banner import banner
    from jaxff.lammps.pair_jaxff.strategies import strategy_for

    strategy = strategy_for(evaluator)
    needs = overlay_line(path, strategy.potential.contract)
    handle = next(_handles)
    text = banner(path, strategy, precision, evaluator.device, threads)
    _models[handle] = OpenModel(strategy, text, needs)
    _models[handle].describe(model)
    model.handle = handle


def open_evaluator(
    path: str,
    precision: str,
    device: str,
    threads: int,
    rank_on_node: int = 0,
    ranks_on_node: int = 1,
    symbols: Sequence[str] = (),
) -> tuple[Evaluator, int]:
    """Read a file and prepare JAX for LAMMPS: one thread a rank unless asked otherwise, and a GPU for each.

    Of a potential that knows many elements, the part for ``symbols`` is prepared, if it knows all of them.
    """
    threads = threads or 1
    # XLA takes most of a GPU's memory at once, which the second rank on that GPU would miss.
    if ranks_on_node > 1:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from jaxff.runtime import configure

    configure(threads=threads, platforms="cpu" if device == "cpu" else None, asynchronous=False)
    from jax_models import Potential
    from jax_models.systems import evaluator_for

    # A replaced file has another inode or time; a missing one is Potential.load's to name.
    state = os.stat(path) if os.path.exists(path) else None
    elements = tuple(sorted(set(symbols)))
    key = (
        os.path.abspath(path),
        precision,
        device,
        state and (state.st_ino, state.st_mtime_ns, state.st_size),
        elements,
    )
    evaluator = _recent.pop(key, None)
    if evaluator is None:
        potential = Potential.load(path)
        known = set(elements) <= set(potential.elements)
        part = potential.covering(elements) if known else potential
        evaluator = evaluator_for(part, precision, device_of_rank(device, rank_on_node))
    _recent[key] = evaluator
    while len(_recent) > MOST_RECENT:
        del _recent[next(iter(_recent))]
    return evaluator, threads


def device_of_rank(name: str, rank_on_node: int) -> jax.Device:
    """The GPU (or CPU device) for a rank: all ranks of a node, those of other ``-partition`` replicas included, take
    turns. A launcher that shows each rank its own GPU only (CUDA_VISIBLE_DEVICES) leaves nothing to choose."""
    from jax_models.systems.evaluator import local_devices

    devices = local_devices(name)
    return devices[rank_on_node % len(devices)]


def _block_rows(handle: int, n_centers: int, rows: Any) -> None:
    rows[0] = _models[handle].strategy.block_rows(n_centers)


def _workspace(handle: int, rows: int, n_neighbors: int, pointers: Any) -> None:
    index, workspace = _models[handle].strategy.workspace(rows, n_neighbors)
    _point(pointers.contents, index, workspace, ("vectors", "species", "neighbor_species", "mask"))


def _point(pointers: abi.WorkspacePointers, index: int, workspace: Workspace, names: tuple[str, ...]) -> None:
    pointers.index = index
    pointers.width = workspace.mask.shape[1]
    for name in names:
        setattr(pointers, name, getattr(workspace, name).ctypes.data)


def _evaluate(handle: int, index: int, graded: int, result_pointer: Any) -> None:
    model = _models[handle]
    model.point_to(result_pointer.contents, *model.strategy.run_workspace(index, bool(graded)))


def _block(handle: int, number: int, rows: int, n_neighbors: int, pointers: Any) -> None:
    workspace = _models[handle].strategy.run.block(number, rows, n_neighbors)
    names = ("vectors", "species", "neighbor_species", "mask", "neighbors", "centers", "weights")
    _point(pointers.contents, number, workspace, names)


def _start(handle: int, n_blocks: int, n_atoms: int, needed: Any, graded: int) -> None:
    strategy = _models[handle].strategy
    strategy.run.start(n_blocks, n_atoms, needed[: strategy.potential.contract.layers], bool(graded))


def _advance(handle: int, pointers: Any) -> None:
    exchange = _models[handle].strategy.run.advance()
    result = pointers.contents
    if exchange is None:
        result.kind = abi.FINISHED
        return
    result.kind = abi.FORWARD if exchange.forward else abi.REVERSE
    result.columns = exchange.array.shape[1]
    result.array = exchange.array.ctypes.data


def _result(handle: int, number: int, result_pointer: Any) -> None:
    model = _models[handle]
    model.point_to(result_pointer.contents, *model.strategy.run.results[number])


def _cell(handle: int, cell_pointer: Any, result_pointer: Any) -> None:
    import numpy as np

    cell, result, model = cell_pointer.contents, result_pointer.contents, _models[handle]
    n = cell.n
    positions = np.ctypeslib.as_array(cell.positions, (n, 3)) if n else np.zeros((0, 3))
    species = np.ctypeslib.as_array(cell.species, (n,)) if n else np.zeros(0, np.int32)
    vectors, periodic = np.reshape(cell.vectors, (3, 3)), np.array(cell.periodic, bool)
    found = model.strategy.evaluate_cell(positions, vectors, periodic, species)
    virial = found.virial
    # C++ adds the reference energies, atom by atom.
    result.energy = found.energy - model.strategy.potential.reference_energies[species].sum()
    result.virial[:] = [virial[a, b] for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
    model.results = (np.ascontiguousarray(found.forces),)
    result.forces = model.results[0].ctypes.data
    result.compilations = model.strategy.compilations


def _grid(handle: int, cell: Any, periodic: Any, steps: Any, counts: Any) -> None:
    import numpy as np

    vectors, is_periodic = np.array(cell[:9]).reshape(3, 3), np.array(periodic[:3], bool)
    found, number = _models[handle].strategy.grid(vectors, is_periodic)
    np.ctypeslib.as_array(steps, (3, 3))[:], np.ctypeslib.as_array(counts, (3,))[:] = found, number


def _close(handle: int) -> None:
    _models.pop(handle, None)


_FUNCTIONS: dict[str, Callable[..., None]] = {
    "open": _open, "block_rows": _block_rows, "workspace": _workspace, "evaluate": _evaluate, "block": _block,
    "start": _start, "advance": _advance, "result": _result, "close": _close, "cell": _cell, "grid": _grid,
}  # fmt: skip
_table = abi.Table(alive=1, error=b"")
for _field in abi.Table._fields_[2:]:
    setattr(_table, _field[0], _field[1](_guarded(_FUNCTIONS[_field[0]])))
# C++ reads the table until the process ends, later than Python frees its objects.
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_table))


@atexit.register
def _shut() -> None:
    _table.alive = 0
