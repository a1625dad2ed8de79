"""What an operator may set of Postfix for a whole fleet: a closed list, each with its bounds.

Left out is whatever decides over mail for good, such as how long it is tried, or makes receivers get it twice, such as
how long their last answer is waited for. A value within its bounds can still be a bad one: that is what rings are for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from mailstack.syntax import InvalidSpec


@dataclass(frozen=True, slots=True)
class Tunables:
    """Each as Postfix calls it, with what is shipped; times in seconds, sizes in octets.

    No message may be larger than what is shipped allows, for what the control plane has accepted would then be refused.
    """

    #: Connections at once to one destination, of all of a server's addresses together.
    smtp_destination_concurrency_limit: int = 10
    #: Between two deliveries to one destination.
    smtp_destination_rate_delay: int = 0
    smtp_connect_timeout: int = 30
    #: may: TLS where it is offered; encrypt: never without; verify: only to certificates of known authorities.
    smtp_tls_security_level: str = "may"
    #: 10 MB of message grow by a third in base64; 15 MB leave room for headers.
    message_size_limit: int = 15_728_640

    def __post_init__(self) -> None:
        for name, value in vars_of(self).items():
            allowed = ALLOWED[name]
            if value not in allowed:
                raise InvalidSpec(f"{name} = {value}: it must be {words_of(allowed)}")

    @classmethod
    def of(cls, settings: Iterable[tuple[str, str]]) -> "Tunables":
        """Return them from names and written values; raise `InvalidSpec` for one that is not on the list, or twice."""
        read: dict[str, int | str] = {}
        for name, written in settings:
            if name not in ALLOWED or name in read:
                raise InvalidSpec(f"{name} is {'set twice' if name in read else 'nothing that can be set'}")
            read[name] = _read(name, written)
        # Checked above, one by one.
        known: dict[str, Any] = read
        return cls(**known)

    @property
    def changed(self) -> Mapping[str, str]:
        """What is not as it is shipped, in order of names."""
        shipped = vars_of(SHIPPED)
        return {name: str(value) for name, value in sorted(vars_of(self).items()) if value != shipped[name]}


ALLOWED: Mapping[str, range | tuple[str, ...]] = {
    "smtp_destination_concurrency_limit": range(1, 21),
    "smtp_destination_rate_delay": range(301),
    "smtp_connect_timeout": range(5, 121),
    "smtp_tls_security_level": ("may", "encrypt", "verify"),
    "message_size_limit": range(15_728_640, 104_857_601),
}


def vars_of(tunables: Tunables) -> dict[str, int | str]:
    """Return each by its name."""
    return {field.name: getattr(tunables, field.name) for field in fields(tunables)}


def words_of(allowed: range | tuple[str, ...]) -> str:
    """Return the bounds in words."""
    if isinstance(allowed, range):
        return f"a whole number from {allowed.start} to {allowed.stop - 1}"
    return f"one of {', '.join(allowed)}"


def _read(name: str, written: str) -> int | str:
    if not isinstance(ALLOWED[name], range):
        return written
    if not (written.isascii() and written.isdigit() and len(written) < 12):
        raise InvalidSpec(f"{name} = {written}: it must be {words_of(ALLOWED[name])}")
    return int(written)


#: What holds where nothing else is set.
SHIPPED = Tunables()
