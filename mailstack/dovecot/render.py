"""Dovecot's files: one configuration for 2.3 or 2.4, whose languages differ, and the users."""

import hashlib

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from mailstack import layout
from mailstack.rendered_file import OnChange, RenderedFile, Service
from mailstack.spec import CopyDoor, MailboxCopy, MailServerSpec, Platform, ProbeMailbox
from mailstack.templating import fill

CONFIGURATION = "/etc/dovecot/dovecot.conf"
USERS = "/etc/dovecot/users"
#: One configuration for each mailbox that is copied from another server; doveadm(1) alone reads them.
COPIES = "/etc/dovecot/copies"

#: The first version of Dovecot's second language.
_NEW_LANGUAGE = (2, 4)
#: OWASP's least parameters of Argon2id (2023): 19 MiB, two passes, one lane. Fits a small server's auth process.
_ARGON2_MEMORY_KIB = 19456
_ARGON2_ITERATIONS = 2
_ARGON2_LANES = 1
_HASH_OCTETS = 32
_SALT_OCTETS = 16


def render(spec: MailServerSpec, platform: Platform) -> tuple[RenderedFile, ...]:
    """Return Dovecot's files. Dovecot notices a changed users file by itself, so it reloads nothing."""
    template = "dovecot-2.4.conf.j2" if platform.dovecot >= _NEW_LANGUAGE else "dovecot-2.3.conf.j2"
    configuration = fill(
        __package__,
        template,
        hostname=spec.hostname,
        users=USERS,
        tls_pair=layout.TLS_PAIR,
        sasl_socket=f"{layout.POSTFIX_QUEUE}/{layout.SASL_SOCKET}",
        lmtp_socket=f"{layout.POSTFIX_QUEUE}/{layout.LMTP_SOCKET}",
        mail_user=layout.MAIL_USER,
        mail_user_id=layout.MAIL_USER_ID,
        mail_root=layout.MAIL_ROOT,
        has_ipv6=spec.ipv6_address is not None,
    )
    return (
        RenderedFile(CONFIGURATION, configuration, (Service.DOVECOT,)),
        RenderedFile(
            USERS,
            _users(spec, _quota_field(platform)),
            (Service.DOVECOT,),
            OnChange.NOTHING,
            group="dovecot",
            mode=0o640,
        ),
        *(_copy(copy, template) for copy in spec.copies),
    )


def copy_configuration(address: str) -> str:
    """Return the path of what copying that mailbox is configured by."""
    return f"{COPIES}/{address}.conf"


def _copy(copy: MailboxCopy, template: str) -> RenderedFile:
    content = fill(__package__, template.replace("dovecot-", "copy-"), configuration=CONFIGURATION, copy=copy)
    path = copy_configuration(copy.address)
    return RenderedFile(path, content, (Service.DOVECOT,), OnChange.NOTHING, mode=0o600)


def _quota_field(platform: Platform) -> str:
    """Return the extra field of passwd-file that sets a mailbox's quota, as a pattern for its megabytes."""
    return "userdb_quota_storage_size={}M" if platform.dovecot >= _NEW_LANGUAGE else "userdb_quota_rule=*:storage={}M"


def _users(spec: MailServerSpec, quota_field: str) -> bytes:
    hashes = {
        mailbox.address: mailbox.password_hash
        + (f"::::::{quota_field.format(mailbox.quota_mb)}" if mailbox.quota_mb else "")
        for mailbox in spec.mailboxes
    }
    hashes[spec.probe.address] = _probe_password_hash(spec.probe)
    hashes |= {door.login: _door_fields(door) for door in spec.copy_doors}
    return "".join(f"{address}:{fields}\n" for address, fields in sorted(hashes.items())).encode()


def _door_fields(door: CopyDoor) -> str:
    """Return the hash and the extra fields of passwd-file: whose mailbox it opens, and from where."""
    clients = f"{door.client_ipv4_address}/32"
    if door.client_ipv6_address is not None:
        clients += f",{door.client_ipv6_address}/128"
    return f"{door.password_hash}::::::user={door.address} allow_nets={clients}"


def _probe_password_hash(probe: ProbeMailbox) -> str:
    """Hash the probe's password with a salt made from it, so that the same spec always renders the same bytes.

    The password is random and long, so nothing can be looked up in a table made beforehand.
    """
    salt = hashlib.sha256(f"{probe.address}\0{probe.password}".encode()).digest()[:_SALT_OCTETS]
    argon2id = Argon2id(
        salt=salt,
        length=_HASH_OCTETS,
        iterations=_ARGON2_ITERATIONS,
        lanes=_ARGON2_LANES,
        memory_cost=_ARGON2_MEMORY_KIB,
    )
    return "{ARGON2ID}" + argon2id.derive_phc_encoded(probe.password.encode())
