"""Tensors from a file of ``torch.save``, without PyTorch and without running anything that the file says.

Such a file is a zip of one pickle and of raw storages. The pickle is read by an unpickler that knows the handful of
functions tensors are made by; of any other class it makes an inert placeholder where the caller expects that class by
name, and refuses the file otherwise.
"""

from __future__ import annotations

import collections
import io
import os
import pickle
import zipfile
from collections.abc import Collection
from typing import Any

import numpy as np

from jax_models.errors import ModelFileError

STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
"""By torch's names of them. NumPy has no bfloat16."""


class Inert:
    """Stands for an object of the file that is not made: the ``name`` of its class, what it was called with, its
    state."""

    name = ""

    def __init__(self, *arguments: Any, **named: Any):
        self.arguments, self.named, self.state = arguments, named, None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<{self.name}{self.arguments}>"


def read_torch(path: str | os.PathLike, inert: Collection[str] = ()) -> Any:
    """What ``torch.save`` wrote: dictionaries, lists, numbers and text, with NumPy arrays for tensors.

    Args:
        path: of the file.
        inert: full names of classes and functions, e.g. "e3nn.o3._irreps.Irreps", whose objects become `Inert`; a name
            that ends in "." stands for all that begins with it.

    Raises:
        ModelFileError: it cannot be read, is not such a file, or holds objects of a class that is not expected, by
            name.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("data.pkl")]
            if len(pickles) != 1:
                raise ModelFileError(f"{path} is not a file of torch.save: it holds {len(pickles)} data.pkl")
            return _Reader(archive, pickles[0], os.fspath(path), tuple(inert)).load()
    except ModelFileError:
        raise
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # a damaged zip or pickle raises a dozen types
        raise ModelFileError(
            f"{path} is not a file of torch.save, or is damaged: {error or type(error).__name__}"
        ) from None


class _Reader(pickle.Unpickler):
    """The pickle of the file; nothing but what `find_class` returns can be called by it."""

    def __init__(self, archive: zipfile.ZipFile, name: str, path: str, inert: tuple[str, ...]):
        super().__init__(io.BytesIO(archive.read(name)))
        self._archive, self._folder, self._path, self._inert = archive, name.removesuffix("data.pkl"), path, inert

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if full in _KNOWN:
            return _KNOWN[full]
        if any(full == expected or (expected.endswith(".") and full.startswith(expected)) for expected in self._inert):
            return type("Inert", (Inert,), {"name": full})
        raise ModelFileError(
            f"{self._path} holds a {full}, which is not a tensor: it may run code when it is opened and is refused. "
            "Save the state dictionary alone, with torch.save(model.state_dict(), ...) or safetensors"
        )

    def persistent_load(self, identifier: Any) -> np.ndarray:
        kind, dtype, key, _, count = identifier
        if kind != "storage":
            raise ModelFileError(f"{self._path} holds a {kind!r} in place of a storage")
        values = np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype)
        if len(values) != count:
            raise ModelFileError(f"{self._path} is damaged: storage {key} has {len(values)} numbers, not {count}")
        return values


def _tensor(storage: np.ndarray, offset: int, size: tuple, stride: tuple, *_: Any) -> np.ndarray:
    """A tensor as PyTorch keeps it: a view into its storage."""
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if offset < 0 or min(stride, default=0) < 0 or (0 not in size and last >= len(storage)):
        raise ValueError("a tensor reaches beyond its storage")
    view = np.lib.stride_tricks.as_strided(storage[offset:], size, [step * storage.itemsize for step in stride])
    return np.array(view)


_KNOWN: dict[str, Any] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch.Size": tuple,
    "collections.OrderedDict": collections.OrderedDict,
    "collections.defaultdict": lambda *_: {},
    "builtins.set": set,
    "builtins.complex": complex,
}
