"""The few functions of LAMMPS's C library that code running inside LAMMPS needs, by way of its SELF pointer.

LAMMPS's own Python module is not used: the one on the path may belong to another LAMMPS than the one that is running.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from jax_models.errors import ConfigError


class Library:
    """A running LAMMPS.

    Args:
        pointer: what ``python ... SELF`` hands over, a capsule or an address.

    Raises:
        ConfigError: the library's functions are not visible in this process.
    """

    def __init__(self, pointer: Any):
        self._c = ctypes.CDLL(None)
        try:
            self._c.lammps_extract_setting.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
            self._c.lammps_extract_atom.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
            self._c.lammps_extract_global.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
            self._c.lammps_is_running.argtypes = [ctypes.c_void_p]
            self._c.lammps_command.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
            self._c.lammps_find_pair_neighlist.argtypes = [ctypes.c_void_p, ctypes.c_char_p, *3 * [ctypes.c_int]]
        except AttributeError as error:
            raise ConfigError(
                f"this LAMMPS does not show its library functions to Python ({error}); build it with "
                "-DBUILD_SHARED_LIBS=on"
            ) from None
        self._c.lammps_extract_atom.restype = ctypes.c_void_p
        self._c.lammps_extract_global.restype = ctypes.c_void_p
        if not isinstance(pointer, int):
            ctypes.pythonapi.PyCapsule_GetPointer.restype = ctypes.c_void_p
            ctypes.pythonapi.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
            pointer = ctypes.pythonapi.PyCapsule_GetPointer(pointer, None)
        self.address: int = pointer

    def setting(self, name: str) -> int:
        """An integer setting; -1 where this version of LAMMPS does not know it."""
        return self._c.lammps_extract_setting(self.address, name.encode())

    def command(self, text: str) -> None:
        """Run one command of an input script."""
        self._c.lammps_command(self.address, text.encode())

    @property
    def units(self) -> str:
        """LAMMPS's unit style."""
        name = self._c.lammps_extract_global(self.address, b"units")
        return (ctypes.cast(name, ctypes.c_char_p).value or b"").decode()

    @property
    def is_running(self) -> bool:
        """Inside a run or a minimisation, as opposed to a command like pair_write."""
        return bool(self._c.lammps_is_running(self.address))

    def count(self, name: str) -> int:
        """A global count such as ``nbonds``; 0 where LAMMPS does not tell."""
        pointer = self._c.lammps_extract_global(self.address, name.encode())
        kind = ctypes.c_int64 if self.setting("bigint") == 8 else ctypes.c_int32
        return ctypes.cast(pointer, ctypes.POINTER(kind))[0] if pointer else 0

    def vectors(self, name: str, n: int) -> np.ndarray:
        """[n, 3] view of a per-atom vector, ``x`` or ``f``; writing to it writes LAMMPS's own memory."""
        rows = self._c.lammps_extract_atom(self.address, name.encode())
        if n == 0 or not rows:
            return np.zeros((0, 3))
        first = ctypes.cast(rows, ctypes.POINTER(ctypes.POINTER(ctypes.c_double)))[0]
        return np.ctypeslib.as_array(first, (n, 3))

    def integers(self, name: str, n: int) -> np.ndarray:
        """[n] view of a per-atom integer, ``type`` or ``id``."""
        pointer = self._c.lammps_extract_atom(self.address, name.encode())
        if n == 0 or not pointer:
            return np.zeros(0, np.int32)
        kind = ctypes.c_int64 if name == "id" and self.setting("tagint") == 8 else ctypes.c_int32
        return np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(kind)), (n,))

    def listed_pairs(self, style: str) -> np.ndarray | None:
        """[P, 2] atom indices in the neighbour list of a pair style; None where it is not the only one of its name."""
        index = self._c.lammps_find_pair_neighlist(self.address, style.encode(), 1, 0, 0)
        if index < 0:
            return None
        number, read = self._c.lammps_neighlist_num_elements, self._c.lammps_neighlist_element_neighbors
        number.argtypes = [ctypes.c_void_p, ctypes.c_int]
        i, n, neighbors = ctypes.c_int(), ctypes.c_int(), ctypes.POINTER(ctypes.c_int)()
        read.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, *3 * [ctypes.c_void_p]]
        pairs = [np.zeros((0, 2), int)]
        for element in range(number(self.address, index)):
            read(self.address, index, element, ctypes.byref(i), ctypes.byref(n), ctypes.byref(neighbors))
            if n.value:
                j = np.ctypeslib.as_array(neighbors, (n.value,)) & 0x1FFFFFFF  # the upper bits mark special bonds
                pairs.append(np.stack([np.full(n.value, i.value), j], axis=1))
        return np.concatenate(pairs)
