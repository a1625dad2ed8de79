"""Everything one mail server should be, as frozen values.

The control plane builds a `MailServerSpec` from its rows, the agent receives it over the link, and the renderers turn
it into files. A spec knows no tenant, no row and no network. It carries secrets, so its `repr` leaves them out.

A spec that could not be written safely cannot be made: each class checks its values (`mailstack/syntax.py`) and raises
`InvalidSpec`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mailstack.syntax import (
    InvalidSpec,
    require_address,
    require_backup_credential,
    require_backup_password,
    require_backup_repository,
    require_certificates,
    require_copy_password,
    require_directory_url,
    require_domain,
    require_ipv4,
    require_ipv6,
    require_mta_sts_policy,
    require_outside_address,
    require_password_hash,
    require_private_key,
    require_probe_password,
    require_selector,
)
from mailstack.tunables import SHIPPED, Tunables

#: With its own address a server then has ten, which share the connections that one destination gets from it.
MAX_SENDING_ADDRESSES = 9
#: Beside its host name, in one certificate; Let's Encrypt takes 100 names.
MAX_CERTIFIED_NAMES = 99


@dataclass(frozen=True, slots=True)
class DkimKey:
    """One DKIM key pair of a domain (RFC 6376); `private_key_pem` is PKCS#8, RSA-2048."""

    selector: str
    private_key_pem: bytes = field(repr=False)
    active: bool = True

    def __post_init__(self) -> None:
        require_selector(self.selector)
        require_private_key(self.private_key_pem)


@dataclass(frozen=True, slots=True)
class MailDomain:
    """A domain the server receives for and signs for. At most one of its keys is active."""

    name: str
    dkim_keys: tuple[DkimKey, ...] = ()
    #: The MTA-STS policy (RFC 8461) that this server shows for the domain; empty for none.
    mta_sts_policy: str = ""
    #: Whether `mta_sts_name` leads here, so that the server's certificate is to be for it as well.
    mta_sts_certified: bool = False
    #: Whether mail programs are told here that this server has the domain's mailboxes, all of them.
    client_settings: bool = False
    #: Whether `client_names` lead here.
    client_settings_certified: bool = False

    def __post_init__(self) -> None:
        require_domain(self.name)
        if self.mta_sts_policy:
            require_domain(self.mta_sts_name)
            require_mta_sts_policy(self.mta_sts_policy)
        if self.client_settings:
            for name in self.client_names:
                require_domain(name)
        _require_unique(f"DKIM selector of {self.name}", (key.selector for key in self.dkim_keys))
        if sum(key.active for key in self.dkim_keys) > 1:
            raise InvalidSpec(f"{self.name} has more than one active DKIM key")

    @property
    def active_key(self) -> DkimKey | None:
        """The key that signs, if the domain signs."""
        return next((key for key in self.dkim_keys if key.active), None)

    @property
    def mta_sts_name(self) -> str:
        """The host that shows the domain's policy (RFC 8461, section 3.3)."""
        return f"mta-sts.{self.name}"

    @property
    def client_names(self) -> tuple[str, str]:
        """The hosts that Thunderbird and those that do as it does ask, and that Outlook asks."""
        return f"autoconfig.{self.name}", f"autodiscover.{self.name}"


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with a mailbox; `password_hash` is Dovecot's `{ARGON2ID}` hash, 0 `quota_mb` is no quota."""

    address: str
    password_hash: str = field(repr=False)
    #: Of 1,048,576 octets each.
    quota_mb: int = 0

    def __post_init__(self) -> None:
        require_address(self.address)
        require_password_hash(self.password_hash)
        if self.quota_mb < 0:
            raise InvalidSpec(f"the quota of {self.address} is negative")


@dataclass(frozen=True, slots=True)
class Alias:
    """An address that is delivered to other addresses."""

    address: str
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        require_address(self.address)
        if not self.targets:
            raise InvalidSpec(f"the alias {self.address} has no target")
        for target in self.targets:
            require_outside_address(target)


@dataclass(frozen=True, slots=True)
class SendingAddress:
    """One more address of the server, through which some of its mailboxes send. `hostname` equals its PTR."""

    ipv4_address: str
    hostname: str
    senders: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_ipv4(self.ipv4_address)
        require_domain(self.hostname)
        for sender in self.senders:
            require_address(sender)


@dataclass(frozen=True, slots=True)
class MailForward:
    """An address whose mailbox moves, or has: what comes for it goes on to `host`, over TLS; None keeps it waiting.

    Where the mailbox itself is here, too, it is a copy that nothing may be delivered to yet.
    """

    address: str
    host: str | None

    def __post_init__(self) -> None:
        require_address(self.address)
        if self.host is not None:
            require_domain(self.host)


@dataclass(frozen=True, slots=True)
class CopyDoor:
    """A log-in of its own by which another server, and only that one, reads a mailbox that moves to it."""

    login: str
    password_hash: str = field(repr=False)
    address: str
    client_ipv4_address: str
    client_ipv6_address: str | None = None

    def __post_init__(self) -> None:
        require_address(self.login)
        require_password_hash(self.password_hash)
        require_address(self.address)
        require_ipv4(self.client_ipv4_address)
        if self.client_ipv6_address is not None:
            require_ipv6(self.client_ipv6_address)


@dataclass(frozen=True, slots=True)
class MailboxCopy:
    """A mailbox that moves here, and how it is read where it comes from.

    `verify_certificate`: that server's certificate is of an authority that operating systems trust.
    """

    address: str
    source_host: str
    login: str
    password: str = field(repr=False)
    verify_certificate: bool

    def __post_init__(self) -> None:
        require_address(self.address)
        require_domain(self.source_host)
        require_address(self.login)
        require_copy_password(self.password)


@dataclass(frozen=True, slots=True)
class ProbeMailbox:
    """The mailbox that verification sends to and reads from."""

    address: str
    password: str = field(repr=False)

    def __post_init__(self) -> None:
        require_address(self.address)
        require_probe_password(self.password)


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """Who issues the server's certificate, over ACME (RFC 8555).

    `roots_pem` are trusted for the directory's own HTTPS, in place of the operating system's; empty for those.
    `port_on_request`: port 80, at which it asks back, is shut until the control plane says that it is open.
    `by_dns`: it looks for a record (DNS-01) that the control plane publishes, and not at port 80.
    """

    directory_url: str
    account_email: str
    roots_pem: bytes = b""
    port_on_request: bool = False
    by_dns: bool = False

    def __post_init__(self) -> None:
        require_directory_url(self.directory_url)
        require_outside_address(self.account_email)
        require_certificates(self.roots_pem)


@dataclass(frozen=True, slots=True)
class MailBackup:
    """Where mailboxes are backed up to, for restic, and as whom; `server` names this server there."""

    repository: str = field(repr=False)
    password: str = field(repr=False)
    credentials: tuple[tuple[str, str], ...] = field(repr=False)
    server: str

    def __post_init__(self) -> None:
        require_backup_repository(self.repository)
        require_backup_password(self.password)
        for name, value in self.credentials:
            require_backup_credential(name, value)
        require_selector(self.server)


@dataclass(frozen=True, slots=True)
class MailServerSpec:
    """One server. `hostname` is fully qualified and equals the PTR of `ipv4_address`; nameservers are addresses.

    Without an authority the server shows a certificate that it has signed itself. With an `ipv6_address` it is there
    over IPv6 as well; mail goes out over it only where `sends_over_ipv6` says that its PTR, too, is the host's name.
    """

    hostname: str
    ipv4_address: str
    nameservers: tuple[str, ...]
    domains: tuple[MailDomain, ...]
    mailboxes: tuple[Mailbox, ...]
    aliases: tuple[Alias, ...]
    probe: ProbeMailbox
    sending_addresses: tuple[SendingAddress, ...] = ()
    authority: CertificateAuthority | None = None
    forwards: tuple[MailForward, ...] = ()
    copy_doors: tuple[CopyDoor, ...] = ()
    copies: tuple[MailboxCopy, ...] = ()
    backup: MailBackup | None = None
    tunables: Tunables = SHIPPED
    ipv6_address: str | None = None
    sends_over_ipv6: bool = False

    def __post_init__(self) -> None:
        require_domain(self.hostname)
        require_ipv4(self.ipv4_address)
        self._check_ipv6()
        if not self.nameservers:
            raise InvalidSpec("there is no nameserver")
        for nameserver in self.nameservers:
            require_ipv4(nameserver)
        _require_unique("domain", (domain.name for domain in self.domains))
        addresses = [mailbox.address for mailbox in self.mailboxes] + [alias.address for alias in self.aliases]
        addresses.append(self.probe.address)
        _require_unique("address", addresses)
        forwarded = [forward.address for forward in self.forwards]
        _require_unique("forwarded address", forwarded)
        for address in (*addresses, *forwarded):
            if address.rpartition("@")[2] not in self.receiving_domains:
                raise InvalidSpec(f"{address} is in none of the server's domains")
        self._check_sending_addresses()
        if len(self.certified_names) > MAX_CERTIFIED_NAMES:
            raise InvalidSpec(f"there are more than {MAX_CERTIFIED_NAMES} names beside the host's for its certificate")
        _require_unique("log-in", (*addresses, *(door.login for door in self.copy_doors)))
        if taken := {*forwarded} & {self.probe.address, *(alias.address for alias in self.aliases)}:
            raise InvalidSpec(f"{min(taken)} is forwarded, and no mailbox")
        _require_unique("mailbox that is copied", (copy.address for copy in self.copies))

    def _check_ipv6(self) -> None:
        if self.ipv6_address is not None:
            require_ipv6(self.ipv6_address)
        elif self.sends_over_ipv6:
            raise InvalidSpec("mail cannot go out over IPv6 without an address")

    def _check_sending_addresses(self) -> None:
        if len(self.sending_addresses) > MAX_SENDING_ADDRESSES:
            raise InvalidSpec(f"there are more than {MAX_SENDING_ADDRESSES} further addresses")
        _require_unique("IP address", (self.ipv4_address, *(each.ipv4_address for each in self.sending_addresses)))
        _require_unique("host name", (self.hostname, *(each.hostname for each in self.sending_addresses)))
        senders = [sender for each in self.sending_addresses for sender in each.senders]
        _require_unique("sender", senders)
        if strangers := set(senders) - {mailbox.address for mailbox in self.mailboxes}:
            raise InvalidSpec(f"{min(strangers)} sends through an address and has no mailbox")

    @property
    def receiving_domains(self) -> tuple[str, ...]:
        """Every domain the server takes mail for: the host's own name and its domains, sorted."""
        return tuple(sorted({self.hostname, *(domain.name for domain in self.domains)}))

    @property
    def policy_domains(self) -> tuple[MailDomain, ...]:
        """The domains whose MTA-STS policy is shown here, sorted by name."""
        return tuple(sorted((d for d in self.domains if d.mta_sts_policy), key=lambda domain: domain.name))

    @property
    def client_domains(self) -> tuple[MailDomain, ...]:
        """The domains that mail programs find their settings for here, sorted by name."""
        return tuple(sorted((d for d in self.domains if d.client_settings), key=lambda domain: domain.name))

    @property
    def certified_names(self) -> tuple[str, ...]:
        """The names that the certificate is to be for beside the host's own, sorted."""
        policies = [domain.mta_sts_name for domain in self.policy_domains if domain.mta_sts_certified]
        certified = [domain.client_names for domain in self.client_domains if domain.client_settings_certified]
        return tuple(sorted((*policies, *(name for names in certified for name in names))))


@dataclass(frozen=True, slots=True)
class Platform:
    """The software found on the server, which decides what a renderer may write.

    Versions are (major, minor): Postfix (3, 7) on Debian 12 and (3, 10) on 13; Dovecot (2, 3) and (2, 4).
    """

    postfix: tuple[int, int]
    dovecot: tuple[int, int]


def _require_unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidSpec(f"{what} {name} is there twice")
        seen.add(name)
