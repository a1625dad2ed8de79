"""Everything one mail server should be, as frozen values.

The control plane builds a `MailServerSpec` from its rows, the agent receives it over the link, and the renderers turn
it into files. A spec knows no tenant, no row and no network. It carries secrets, so its `repr` leaves them out.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class DkimKey:
    """One DKIM key pair of a domain (RFC 6376); `private_key_pem` is PKCS#8, RSA-2048."""

    selector: str
    private_key_pem: bytes = field(repr=False)
    active: bool = True


@dataclass(frozen=True, slots=True)
class MailDomain:
    """A domain the server receives for and signs for. At most one of its keys is active."""

    name: str
    dkim_keys: tuple[DkimKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with a mailbox; `password_hash` is Dovecot's `{SCHEME}hash`."""

    address: str
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Alias:
    """An address that is delivered to other addresses."""

    address: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProbeMailbox:
    """The mailbox that verification sends to and reads from."""

    address: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class MailServerSpec:
    """One server. `hostname` is fully qualified and equals the PTR of `ipv4_address`; nameservers are addresses."""

    hostname: str
    ipv4_address: str
    nameservers: tuple[str, ...]
    domains: tuple[MailDomain, ...]
    mailboxes: tuple[Mailbox, ...]
    aliases: tuple[Alias, ...]
    probe: ProbeMailbox


@dataclass(frozen=True, slots=True)
class Platform:
    """The software found on the server, which decides what a renderer may write.

    Versions are (major, minor): Postfix (3, 7) on Debian 12 and (3, 10) on 13; Dovecot (2, 3) and (2, 4).
    """

    postfix: tuple[int, int]
    dovecot: tuple[int, int]
