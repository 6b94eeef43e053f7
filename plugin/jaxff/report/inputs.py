"""Files that a report can show beside the errors: a training's log, rounds of an active loop, computed properties."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from jax_models.errors import DatasetError

ROUND = ("structures", "labels", "coverage", "error_quantile", "threshold", "force_rmse")
"""Numbers of a round that are shown."""


def read_rounds(path: Path) -> list[dict[str, Any]]:
    """Rounds of an active loop, one JSON record a line.

    Raises:
        DatasetError: it cannot be read, has no rounds, or one without a number.
    """
    rounds = read_records(path)
    for record in rounds:
        if not isinstance(record.get("round"), int):
            raise DatasetError(f"{path} has a record without a round; is it the rounds.jsonl of jaxff active?")
        for key in ROUND:
            value = record.get(key)
            if value is not None and not isinstance(value, int | float):
                raise DatasetError(f"{path}, round {record['round']}: {key} is {value!r}; it must be a number or null")
            if value is not None and not math.isfinite(value):
                record[key] = None
    if not rounds:
        raise DatasetError(f"{path} has no rounds yet")
    return rounds


def read_records(path: Path) -> list[dict[str, Any]]:
    """JSON records, one a line. A last line that was cut off, by a full disk or a kill, is left out.

    Raises:
        DatasetError: the file cannot be read, or another line is no record; the text names it.
    """
    lines = [(number, line) for number, line in enumerate(_text(path).splitlines(), start=1) if line.strip()]
    records: list[dict[str, Any]] = []
    for number, line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            record = None
            if number == lines[-1][0] and records:
                break
        if not isinstance(record, dict):
            raise DatasetError(f"{path}, line {number} is not a JSON record")
        records.append(record)
    return records


def read_properties(path: Path) -> dict[str, Any]:
    """What ``jaxff elastic``, ``eos``, ``phonons``, ``vacancy`` or ``barrier`` wrote with ``--json``.

    Raises:
        DatasetError: it cannot be read, or is something else.
    """
    try:
        data = json.loads(_text(path))
    except ValueError as error:
        raise DatasetError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict) or not data:
        raise DatasetError(f"{path} holds no properties; give what jaxff elastic, eos, ... wrote with --json")
    return data


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DatasetError(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}") from None
