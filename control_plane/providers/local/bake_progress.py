"""How far a bake is, from the lines that mmdebstrap and apt print (pure)."""

import re
from dataclasses import dataclass

_TO_INSTALL = re.compile(r"^\d+ upgraded, (\d+) newly installed")
#: What apt and dpkg print once for each package, and the word for it.
_STEPS = (("Get:", "downloading"), ("Unpacking ", "unpacking"), ("Setting up ", "setting up"))
#: mmdebstrap calls apt twice: first for the essential packages, about a quarter of a server's.
_ESSENTIAL_SHARE = 25


@dataclass(frozen=True, slots=True)
class BakeProgress:
    """Where the bake stands after the lines seen so far."""

    percent: int = 0
    doing: str = "asking for the lists of packages"
    base: int = 0
    steps_ahead: int = 0
    steps_done: int = 0

    def after(self, line: str) -> "BakeProgress":
        """Return the progress once this line has been printed."""
        if started := _TO_INSTALL.match(line):
            base = _ESSENTIAL_SHARE if self.steps_ahead else 0
            return BakeProgress(max(self.percent, base), "downloading", base, int(started[1]) * len(_STEPS), 0)
        for beginning, doing in _STEPS:
            if self.steps_ahead and line.startswith(beginning):
                return self._one_step(doing)
        return self

    def _one_step(self, doing: str) -> "BakeProgress":
        share = 99 - self.base if self.base else _ESSENTIAL_SHARE
        done = min(self.steps_done + 1, self.steps_ahead)
        percent = max(self.percent, self.base + share * done // self.steps_ahead)
        return BakeProgress(percent, doing, self.base, self.steps_ahead, done)
