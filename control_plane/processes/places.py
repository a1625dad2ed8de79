"""Where an installation keeps its things.

What must survive lies in `.penguin/<instance>/`. Sockets lie in `/run/penguinmails-<id>/`, for their paths must be
short; that folder goes when the installation stops.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from control_plane.errors import InvalidInput

CHECKOUT = Path(__file__).resolve().parents[2]
#: Everything that is made and not written by people.
HOME = CHECKOUT / ".penguin"

_INSTANCE = re.compile(r"[a-z][a-z0-9-]{0,31}")
#: Folders of HOME that are no instances.
_OTHERS = frozenset({"venv", "images", "wheelhouse", "releases"})


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one installation; `runtime_id` is unique on this machine."""

    state: Path
    runtime_id: str
    #: Shared by the installations of one checkout.
    wheelhouse: Path
    images: Path

    @property
    def logs(self) -> Path:
        """One file for each process."""
        return self.state / "log"

    @property
    def postgres_data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.state / "postgres"

    @property
    def certificates(self) -> Path:
        """Certificates and keys of our own doors, made anew at each start."""
        return self.state / "tls"

    @property
    def lock(self) -> Path:
        """Held while the installation runs."""
        return self.state / "run" / "lock"

    @property
    def runtime(self) -> Path:
        """Sockets."""
        return Path(f"/run/penguinmails-{self.runtime_id}")

    @property
    def cloud_socket(self) -> Path:
        """The local provider's daemon."""
        return self.runtime / "cloud" / "cloud.sock"

    def make(self) -> None:
        """Make the folders that are not made by who uses them."""
        self.state.parent.mkdir(parents=True, exist_ok=True)
        for folder in (self.state, self.logs, self.certificates, self.lock.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        # The daemons' own users pass through to their folders; nobody can list it.
        self.runtime.mkdir(mode=0o711, exist_ok=True)
        for folder in (self.runtime / "notify", self.cloud_socket.parent):
            folder.mkdir(mode=0o700, exist_ok=True)


def state_dir(instance: str, home: Path = HOME) -> Path:
    """Return where an instance keeps what must survive; raise `InvalidInput` when it cannot be named so."""
    if not _INSTANCE.fullmatch(instance) or instance in _OTHERS:
        raise InvalidInput(f"an instance is named with a-z, 0-9 and -, but not {instance!r}")
    return home / instance


def instances(home: Path = HOME) -> list[str]:
    """Return the instances of this checkout, running or not."""
    return sorted(folder.parent.name for folder in home.glob("*/run"))
