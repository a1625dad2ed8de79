"""The order for a certificate, as the root half has written it with the configuration."""

import dataclasses
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
    #: Names that the certificate is to be for beside the host's own.
    further_names: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """Tells an order for another host, or from somebody else, apart."""
        return _mark(self.hostname, self.directory_url)

    @property
    def names_mark(self) -> str:
        """Tells apart orders for other names beside the host's as well."""
        return _mark(self.hostname, self.directory_url, *self.further_names)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, the host's own first."""
        return (self.hostname, *self.further_names)

    @property
    def for_host_alone(self) -> "Order":
        """The same without further names."""
        return dataclasses.replace(self, further_names=())


def read_order(path: Path) -> Order | None:
    """Return the order, or None where no authority is set."""
    try:
        order = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return Order(**{**order, "further_names": tuple(order.get("further_names", ()))})


def _mark(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
