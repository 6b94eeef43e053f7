"""The structures and functions of ``plugin/pair_jaxff/abi.h``, for ctypes; both files change together."""

from __future__ import annotations

from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_double, c_int32, c_int64, c_void_p

ABI = 7
"""Raised together with JAXFF_ABI in abi.h."""
LOCAL, LAYERS, GRID, CELL = range(4)
"""How C++ evaluates a model."""
FINISHED, FORWARD, REVERSE = range(3)
"""Kinds of exchange between layers."""


class Settings(Structure):
    _fields_ = [
        ("file", c_char_p), ("precision", c_char_p), ("device", c_char_p), ("symbols", c_char_p),
        ("threads", c_int32), ("ranks_on_node", c_int32), ("rank_on_node", c_int32),
    ]  # fmt: skip


class Model(Structure):
    _fields_ = [
        ("handle", c_int64), ("cutoff", c_double), ("n_elements", c_int32), ("real_bytes", c_int32),
        ("elements", c_char_p), ("reference_energies", c_void_p), ("banner", c_char_p), ("citation", c_char_p),
        ("needs", c_char_p), ("strategy", c_int32), ("layers", c_int32), ("message_columns", c_int32),
        ("graded", c_int32), ("bar", c_double), ("grade_exponent", c_double), ("force_exponent", c_double),
        ("smallest_force", c_double),
    ]  # fmt: skip


class WorkspacePointers(Structure):
    _fields_ = [
        ("index", c_int32), ("width", c_int32), ("vectors", c_void_p), ("species", c_void_p),
        ("neighbor_species", c_void_p), ("mask", c_void_p), ("neighbors", c_void_p), ("centers", c_void_p),
        ("weights", c_void_p),
    ]  # fmt: skip


class Result(Structure):
    _fields_ = [("energies", c_void_p), ("gradient", c_void_p), ("grades", c_void_p), ("compilations", c_int32)]


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
EVALUATE = CFUNCTYPE(c_int32, c_int64, c_int32, c_int32, POINTER(Result))
BLOCK = CFUNCTYPE(c_int32, c_int64, c_int32, c_int32, c_int32, POINTER(WorkspacePointers))
START = CFUNCTYPE(c_int32, c_int64, c_int32, c_int64, POINTER(c_int32), c_int32)
ADVANCE = CFUNCTYPE(c_int32, c_int64, POINTER(ExchangePointers))
RESULT = CFUNCTYPE(c_int32, c_int64, c_int32, POINTER(Result))
CLOSE = CFUNCTYPE(c_int32, c_int64)
CELL_FUNCTION = CFUNCTYPE(c_int32, c_int64, POINTER(Cell), POINTER(CellResult))
GRID_FUNCTION = CFUNCTYPE(c_int32, c_int64, POINTER(c_double), POINTER(c_int32), POINTER(c_double), POINTER(c_int32))


class Table(Structure):
    _fields_ = [
        ("alive", c_int32), ("error", c_char_p), ("open", OPEN), ("block_rows", BLOCK_ROWS), ("workspace", WORKSPACE),
        ("evaluate", EVALUATE), ("block", BLOCK), ("start", START), ("advance", ADVANCE), ("result", RESULT),
        ("close", CLOSE), ("cell", CELL_FUNCTION), ("grid", GRID_FUNCTION),
    ]  # fmt: skip
