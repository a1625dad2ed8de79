"""Where penguin-backup keeps its own, and where mail is; a test has its own."""

from dataclasses import dataclass
from pathlib import Path

from agent.settings import Settings
from mailstack import layout


@dataclass(frozen=True, slots=True)
class Places:
    """Folders, and what is in them."""

    state: Path = Settings().backup_dir
    mail: Path = Path(layout.MAIL_ROOT)

    @property
    def asked(self) -> Path:
        """A file for each thing that is asked for."""
        return self.state / "asked"

    @property
    def cache(self) -> Path:
        """What restic remembers of the repository."""
        return self.state / "cache"

    @property
    def scratch(self) -> Path:
        """Where a mailbox is restored to before Dovecot takes it."""
        return self.state / "scratch"

    def home(self, address: str) -> Path:
        """Return where a mailbox lies."""
        local_part, _, domain = address.rpartition("@")
        return self.mail / domain / local_part
