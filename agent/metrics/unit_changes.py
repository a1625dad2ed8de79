"""Whether a unit was started or stopped, without asking systemd: one look at a directory's time.

systemd keeps a link for each unit that runs (`invocation:<unit>`) in /run/systemd/units, made at its start and removed
at its end.
"""

from pathlib import Path

UNITS = Path("/run/systemd/units")


class UnitChanges:
    """What was seen of the directory last."""

    def __init__(self, directory: Path = UNITS) -> None:
        self._directory = directory
        self._seen = self._look()

    def seen(self) -> bool:
        """Return whether a unit was started or stopped since the last look."""
        before, self._seen = self._seen, self._look()
        return self._seen != before

    def _look(self) -> int:
        try:
            return self._directory.stat().st_mtime_ns
        except OSError:
            return 0
