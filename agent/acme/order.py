"""The order for a certificate, as the root half has written it with the configuration."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Order:
    """For which name, and from whom. Its values were checked by `mailstack/spec.py` before they were written."""

    hostname: str
    directory_url: str
    account_email: str
    roots_pem: str
    #: Port 80 is shut until a command says that it is open.
    port_on_request: bool = False
    #: The authority looks for a record (DNS-01) that the control plane publishes, and not at port 80.
    by_dns: bool = False

    @property
    def mark(self) -> str:
        """Tells an order for something else, or from somebody else, apart."""
        return hashlib.sha256(f"{self.hostname}\n{self.directory_url}".encode()).hexdigest()[:16]


def read_order(path: Path) -> Order | None:
    """Return the order, or None where no authority is set."""
    try:
        return Order(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
