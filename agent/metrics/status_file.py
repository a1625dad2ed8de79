"""A small file that another program of ours replaces when it has news: read then, and not otherwise."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class StatusFile(Generic[T]):
    """The file at `path`, a JSON object, as `told_of` makes it part of a report."""

    def __init__(self, path: Path, told_of: Callable[[dict[str, Any]], T]) -> None:
        self._path = path
        self._told_of = told_of
        self._seen = 0
        #: As last read; None until there is something to tell.
        self.told: T | None = None

    def seen_change(self) -> bool:
        """Return whether there is something new in `told` since the last look; a file that is damaged is nothing."""
        try:
            changed = self._path.stat().st_mtime_ns
            if changed == self._seen:
                return False
            self.told = self._told_of(json.loads(self._path.read_bytes()))
        except (OSError, ValueError, KeyError, TypeError):
            return False
        self._seen = changed
        return True
