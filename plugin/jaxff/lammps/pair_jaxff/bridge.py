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
from collections.abc import Callable
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_double, c_int32, c_int64, c_void_p
from typing import TYPE_CHECKING, Any

from jax_models.errors import JaxffError

if TYPE_CHECKING:
    import jax

    from jax_models.systems.evaluator import Evaluator, Workspace

ABI = 4
"""Raised together with JAXFF_ABI in abi.h."""


class Settings(Structure):
    _fields_ = [
        ("file", c_char_p), ("precision", c_char_p), ("device", c_char_p), ("threads", c_int32),
        ("ranks", c_int32), ("ranks_on_node", c_int32), ("rank_on_node", c_int32),
    ]  # fmt: skip


class Model(Structure):
    _fields_ = [
        ("handle", c_int64), ("cutoff", c_double), ("n_elements", c_int32), ("real_bytes", c_int32), ("elements", c_char_p),
        ("reference_energies", c_void_p), ("banner", c_char_p), ("citation", c_char_p), ("layers", c_int32),
        ("message_columns", c_int32), ("whole_cell", c_int32), ("spacing", c_double),
    ]  # fmt: skip


class WorkspacePointers(Structure):
    _fields_ = [
        ("index", c_int32), ("width", c_int32), ("vectors", c_void_p), ("species", c_void_p),
        ("neighbor_species", c_void_p), ("mask", c_void_p), ("neighbors", c_void_p), ("centers", c_void_p),
        ("weights", c_void_p),
    ]  # fmt: skip


class Result(Structure):
    _fields_ = [("energies", c_void_p), ("gradient", c_void_p), ("compilations", c_int32)]


class ExchangePointers(Structure):
    _fields_ = [("kind", c_int32), ("columns", c_int32), ("array", c_void_p)]


class Cell(Structure):
    _fields_ = [
        ("n", c_int64), ("positions", POINTER(c_double)), ("species", POINTER(c_int32)), ("vectors", c_double * 9),
        ("periodic", c_int32 * 3),
    ]  # fmt: skip


class CellResult(Structure):
    _fields_ = [("energy", c_double), ("virial", c_double * 6), ("forces", c_void_p), ("compilations", c_int32)]


OPEN = CFUNCTYPE(c_int32, POINTER(Settings), POINTER(Model))
BLOCK_ROWS = CFUNCTYPE(c_int32, c_int64, c_int64, POINTER(c_int32))
WORKSPACE = CFUNCTYPE(c_int32, c_int64, c_int32, c_int32, POINTER(WorkspacePointers))
EVALUATE = CFUNCTYPE(c_int32, c_int64, c_int32, POINTER(Result))
BLOCK = CFUNCTYPE(c_int32, c_int64, c_int32, c_int32, c_int32, POINTER(WorkspacePointers))
START = CFUNCTYPE(c_int32, c_int64, c_int32, c_int64, POINTER(c_int32))
ADVANCE = CFUNCTYPE(c_int32, c_int64, POINTER(ExchangePointers))
RESULT = CFUNCTYPE(c_int32, c_int64, c_int32, POINTER(Result))
CLOSE = CFUNCTYPE(c_int32, c_int64)
CELL = CFUNCTYPE(c_int32, c_int64, POINTER(Cell), POINTER(CellResult))
GRID = CFUNCTYPE(c_int32, c_int64, POINTER(c_double), POINTER(c_int32), POINTER(c_double), POINTER(c_int32))


class Table(Structure):
    _fields_ = [
        ("alive", c_int32), ("error", c_char_p), ("open", OPEN), ("block_rows", BLOCK_ROWS), ("workspace", WORKSPACE),
        ("evaluate", EVALUATE), ("block", BLOCK), ("start", START), ("advance", ADVANCE), ("result", RESULT), ("close", CLOSE),
        ("cell", CELL), ("grid", GRID),
    ]  # fmt: skip


class OpenModel:
    """One ``pair_coeff`` line: the evaluator, and what C++ holds pointers to."""

    def __init__(self, evaluator: Evaluator, banner: str):
        import numpy as np

        from jax_models.systems import system_for
        from jax_models.systems.evaluator import BlockSize
        from jaxff.lammps.pair_jaxff.layered_run import LayeredRun

        potential = evaluator.potential
        self.evaluator = evaluator
        self.workspaces: list[Workspace] = []
        self.results: tuple = ()
        self.layered = LayeredRun(evaluator) if potential.contract.system == "layers" else None
        self.block_size = BlockSize(evaluator)
        self.system = system_for(potential, evaluator=evaluator)
        self.by_shape: dict[tuple[int, int], Workspace] = {}
        self.reference_energies = np.ascontiguousarray(potential.reference_energies, float)
        self.elements = " ".join(potential.elements).encode()
        self.banner = banner.encode()
        self.citation = potential.contract.citation.encode()

    def describe(self, model: Model) -> None:
        potential = self.evaluator.potential
        model.cutoff = potential.cutoff
        model.n_elements = len(potential.elements)
        model.real_bytes = self.evaluator.dtype().itemsize
        model.elements = self.elements
        model.reference_energies = self.reference_energies.ctypes.data
        model.banner = self.banner
        model.citation = self.citation
        model.layers = potential.contract.layers if self.layered else 0
        model.whole_cell = potential.contract.kind == "global"
        model.message_columns = max(self.evaluator.message_widths, default=0) if self.layered else 0
        model.spacing = potential.contract.spacing


_models: dict[int, OpenModel] = {}
_handles = itertools.count(1)
_recent: dict[tuple, Evaluator] = {}
"""Evaluators by file state and settings: `clear` and a second simulation need not compile again."""
MOST_RECENT = 4


def install(address: int, abi: int) -> None:
    """Write the address of the function table to ``address``, a pointer of the plugin's.

    Raises:
        RuntimeError: the plugin was built from another version of jaxff.
    """
    if abi != ABI:
        raise RuntimeError(
            f"jaxffplugin.so speaks version {abi} of the interface, this jaxff {ABI}; install jaxff again"
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
    ranks = settings.rank_on_node, settings.ranks_on_node
    evaluator, threads = open_evaluator(path, precision, device, settings.threads, *ranks)
    contract = evaluator.potential.contract
    handle = next(_handles)
    rows = "points" if contract.spacing else "atoms"
    extent = (
        "the whole cell at once" if contract.kind == "global" else f"blocks of up to {evaluator.largest_block} {rows}"
    )
    reach = "" if contract.kind == "global" else f", cutoff {contract.cutoff:g} Å"
    grid = f", a grid of {contract.spacing:g} Å" if contract.spacing else ""
    banner = (
        f"pair_style jaxff: {path}: {' '.join(contract.elements)}{reach}{grid}, {precision} precision, "
        f"on {device_name(evaluator.device)}, {threads} thread{'s' if threads > 1 else ''} a rank, {extent}"
    )
    _models[handle] = OpenModel(evaluator, banner)
    _models[handle].describe(model)
    model.handle = handle


def open_evaluator(
    path: str, precision: str, device: str, threads: int, rank_on_node: int = 0, ranks_on_node: int = 1
) -> tuple[Evaluator, int]:
    """Read a file and prepare JAX for LAMMPS: one thread a rank unless asked otherwise, and a GPU for each."""
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
    key = (os.path.abspath(path), precision, device, state and (state.st_ino, state.st_mtime_ns, state.st_size))
    evaluator = _recent.pop(key, None) or evaluator_for(
        Potential.load(path), precision, device_of_rank(device, rank_on_node)
    )
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


def device_name(device: Any) -> str:
    """E.g. "CPU" or "NVIDIA H200 (gpu 0)"."""
    return "CPU" if device.platform == "cpu" else f"{device.device_kind} ({device.platform} {device.id})"


def _block_rows(handle: int, n_centers: int, rows: Any) -> None:
    rows[0] = _models[handle].block_size(n_centers)


def _workspace(handle: int, rows: int, n_neighbors: int, pointers: Any) -> None:
    model = _models[handle]
    from jax_models.neighborhood import bucket

    shape = rows, bucket(max(n_neighbors, 1))
    if shape not in model.by_shape:
        model.by_shape[shape] = model.evaluator.new_workspace(*shape)
    workspace = model.by_shape[shape]
    known = [n for n, other in enumerate(model.workspaces) if other is workspace]
    if not known:
        model.workspaces.append(workspace)
        known = [len(model.workspaces) - 1]
    _point(pointers.contents, known[0], workspace, ("vectors", "species", "neighbor_species", "mask"))


def _point(pointers: WorkspacePointers, index: int, workspace: Workspace, names: tuple[str, ...]) -> None:
    pointers.index = index
    pointers.width = workspace.mask.shape[1]
    for name in names:
        setattr(pointers, name, getattr(workspace, name).ctypes.data)


def _evaluate(handle: int, index: int, result_pointer: Any) -> None:
    model = _models[handle]
    model.results = model.evaluator.run(model.workspaces[index])
    _point_to_result(result_pointer.contents, model)


def _point_to_result(result: Result, model: OpenModel) -> None:
    energies, gradient = model.results
    result.energies = energies.__array_interface__["data"][0]
    result.gradient = gradient.__array_interface__["data"][0]
    result.compilations = model.evaluator.compilations


def _block(handle: int, number: int, rows: int, n_neighbors: int, pointers: Any) -> None:
    workspace = _models[handle].layered.block(number, rows, n_neighbors)
    names = ("vectors", "species", "neighbor_species", "mask", "neighbors", "centers", "weights")
    _point(pointers.contents, number, workspace, names)


def _start(handle: int, n_blocks: int, n_atoms: int, needed: Any) -> None:
    model = _models[handle]
    model.layered.start(n_blocks, n_atoms, needed[: model.evaluator.potential.contract.layers])


def _advance(handle: int, pointers: Any) -> None:
    exchange = _models[handle].layered.advance()
    result = pointers.contents
    result.kind = 0 if exchange is None else 1 if exchange.forward else 2
    if exchange is not None:
        result.columns = exchange.array.shape[1]
        result.array = exchange.array.ctypes.data


def _result(handle: int, number: int, result_pointer: Any) -> None:
    model = _models[handle]
    model.results = model.layered.results[number]
    _point_to_result(result_pointer.contents, model)


def _cell(handle: int, cell_pointer: Any, result_pointer: Any) -> None:
    import numpy as np

    cell, result, model = cell_pointer.contents, result_pointer.contents, _models[handle]
    n = cell.n
    positions = np.ctypeslib.as_array(cell.positions, (n, 3)) if n else np.zeros((0, 3))
    species = np.ctypeslib.as_array(cell.species, (n,)) if n else np.zeros(0, np.int32)
    found = model.system.evaluate(positions, np.reshape(cell.vectors, (3, 3)), np.array(cell.periodic, bool), species)
    virial = found.virial
    result.energy = found.energy - model.evaluator.potential.reference_energies[species].sum()
    result.virial[:] = [virial[a, b] for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]
    model.results = (np.ascontiguousarray(found.forces),)
    result.forces = model.results[0].ctypes.data
    result.compilations = model.evaluator.compilations


def _grid(handle: int, cell: Any, periodic: Any, steps: Any, counts: Any) -> None:
    import numpy as np

    from jax_models.reference_points.grid_list import grid_steps

    spacing = _models[handle].evaluator.potential.contract.spacing
    found, number = grid_steps(np.array(cell[:9]).reshape(3, 3), np.array(periodic[:3], bool), spacing)
    np.ctypeslib.as_array(steps, (3, 3))[:], np.ctypeslib.as_array(counts, (3,))[:] = found, number


def _close(handle: int) -> None:
    _models.pop(handle, None)


_table = Table(
    1, b"", OPEN(_guarded(_open)), BLOCK_ROWS(_guarded(_block_rows)), WORKSPACE(_guarded(_workspace)),
    EVALUATE(_guarded(_evaluate)), BLOCK(_guarded(_block)), START(_guarded(_start)), ADVANCE(_guarded(_advance)),
    RESULT(_guarded(_result)), CLOSE(_guarded(_close)), CELL(_guarded(_cell)), GRID(_guarded(_grid)),
)  # fmt: skip
# C++ reads the table until the process ends, later than Python frees its objects.
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_table))


@atexit.register
def _shut() -> None:
    _table.alive = 0
