"""How an installation tells what it does; the command line decides how that looks."""

from typing import Protocol


class Progress(Protocol):
    """Who listens. `step` is called for what stays on the screen, `detail` for what the next call replaces."""

    def step(self, line: str) -> None:
        """Something was done or happened."""

    def detail(self, line: str) -> None:
        """How far something that takes long has come."""
