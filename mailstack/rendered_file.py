"""What a renderer returns: one file as it should be on the server."""

import enum
from dataclasses import dataclass, field


class Service(enum.Enum):
    """The systemd units that mailstack configures."""

    POSTFIX = "postfix"
    DOVECOT = "dovecot"
    OPENDKIM = "opendkim"
    OPENDMARC = "opendmarc"
    #: Only where there is something to show over HTTPS.
    NGINX = "nginx"


class OnChange(enum.Enum):
    """What a changed file asks of its service."""

    NOTHING = "nothing"
    RELOAD = "reload"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """One file: absolute path, owner, mode and content, and what its change does to which services.

    `content` may hold secrets and is left out of `repr`. `postmap` asks for a lookup table to be built beside it.
    """

    path: str
    content: bytes = field(repr=False)
    services: tuple[Service, ...]
    on_change: OnChange = OnChange.RELOAD
    owner: str = "root"
    group: str = "root"
    mode: int = 0o644
    postmap: bool = False
