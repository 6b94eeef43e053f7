"""How an exception in Python ends a LAMMPS that called it: one line, a non-zero exit, all ranks."""

from __future__ import annotations

import ctypes
import functools
import sys
import time
from collections.abc import Callable
from typing import Any

from jaxff.lammps.pair_jaxff.bridge import one_line

PRECEDENCE = 1.0
"""Seconds that other ranks leave rank 0 to tell what happened: one message, not one a rank."""
MPICH_WORLD = 0x44000000


def stops_lammps(function: Callable) -> Callable:
    """Make a function's exceptions stop LAMMPS with one line; see `stop`."""

    @functools.wraps(function)
    def guarded(*arguments, **settings):
        try:
            return function(*arguments, **settings)
        except Exception as error:
            stop(error)
            raise

    return guarded


def stop(error: Exception) -> None:
    """Prepare the end of LAMMPS by ``error``, which the caller raises again.

    On one rank LAMMPS prints it, in one line, and ends with an error of its own. On several LAMMPS would wait for
    the ranks that have not failed, so this one ends them all.
    """
    rank, size = _rank_and_size()
    if size == 1:
        sys.excepthook = _print_in_one_line
        return
    if rank:
        time.sleep(PRECEDENCE)
    print(f"jaxff: error on rank {rank}: {one_line(error)}", file=sys.stderr, flush=True)
    ctypes.CDLL(None).MPI_Abort(_world(), 1)


def _print_in_one_line(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    sys.excepthook = sys.__excepthook__
    print(f"jaxff: error: {one_line(error)}", file=sys.stderr, flush=True)


def _rank_and_size() -> tuple[int, int]:
    mpi, initialized, rank, size = ctypes.CDLL(None), ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(1)
    if hasattr(mpi, "MPI_Initialized"):
        mpi.MPI_Initialized(ctypes.byref(initialized))
    if initialized.value:
        mpi.MPI_Comm_rank(_world(), ctypes.byref(rank))
        mpi.MPI_Comm_size(_world(), ctypes.byref(size))
    return rank.value, size.value


def _world() -> Any:
    """MPI_COMM_WORLD, an address in Open MPI and a number in MPICH and its kin."""
    try:
        return ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(ctypes.CDLL(None), "ompi_mpi_comm_world")))
    except ValueError:
        return ctypes.c_int(MPICH_WORLD)
