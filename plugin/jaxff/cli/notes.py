"""What a library does that a user of the command line should know, printed once."""

from __future__ import annotations

import logging


class Notes(logging.Handler):
    """Prints what ``jaxff`` logs, every message once: files may be read several times by one command."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._said:
            self._said.add(text)
            print(f"note: {text}")


def print_notes() -> None:
    """From now on, and for this command alone."""
    logger = logging.getLogger("jaxff")
    logger.handlers = [handler for handler in logger.handlers if not isinstance(handler, Notes)]
    logger.addHandler(Notes())
    logger.setLevel(logging.INFO)
