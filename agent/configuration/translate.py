"""From the wire's words to mailstack's: a MailServer message becomes a `MailServerSpec`.

Imported by the root half only; the network half passes the message on unread.
"""

from mailstack.spec import (
    Alias,
    CertificateAuthority,
    CopyDoor,
    DkimKey,
    MailBackup,
    Mailbox,
    MailboxCopy,
    MailDomain,
    MailForward,
    MailServerSpec,
    ProbeMailbox,
    SendingAddress,
)
from mailstack.tunables import Tunables
from protos.agent.v1 import configuration_pb2


def to_spec(server: configuration_pb2.MailServer) -> MailServerSpec:
    """Return the spec; raise `mailstack.syntax.InvalidSpec` when a value could not be written safely."""
    return MailServerSpec(
        hostname=server.hostname,
        ipv4_address=server.ipv4_address,
        nameservers=tuple(server.nameservers),
        domains=tuple(_domain(domain) for domain in server.domains),
        mailboxes=tuple(Mailbox(box.address, box.password_hash, box.quota_mb) for box in server.mailboxes),
        aliases=tuple(Alias(alias.address, tuple(alias.targets)) for alias in server.aliases),
        probe=ProbeMailbox(server.probe.address, server.probe.password),
        sending_addresses=tuple(
            SendingAddress(each.ipv4_address, each.hostname, tuple(each.senders)) for each in server.sending_addresses
        ),
        authority=_authority(server.authority) if server.HasField("authority") else None,
        forwards=tuple(MailForward(forward.address, forward.host or None) for forward in server.forwards),
        copy_doors=tuple(
            CopyDoor(
                door.login,
                door.password_hash,
                door.address,
                door.client_ipv4_address,
                door.client_ipv6_address or None,
            )
            for door in server.copy_doors
        ),
        copies=tuple(
            MailboxCopy(copy.address, copy.source_host, copy.login, copy.password, copy.verify_certificate)
            for copy in server.copies
        ),
        ipv6_address=server.ipv6_address or None,
        sends_over_ipv6=server.sends_over_ipv6,
        backup=_backup(server.backup) if server.HasField("backup") else None,
        tunables=Tunables.of((setting.name, setting.value) for setting in server.settings),
    )


def _backup(backup: configuration_pb2.MailBackup) -> MailBackup:
    return MailBackup(backup.repository, backup.password, tuple(sorted(backup.credentials.items())), backup.server)


def _authority(authority: configuration_pb2.CertificateAuthority) -> CertificateAuthority:
    return CertificateAuthority(
        authority.directory_url,
        authority.account_email,
        authority.roots_pem,
        authority.port_on_request,
        authority.by_dns,
    )


def _domain(domain: configuration_pb2.MailDomain) -> MailDomain:
    keys = (DkimKey(key.selector, key.private_key_pem, key.active) for key in domain.dkim_keys)
    return MailDomain(
        domain.name,
        tuple(keys),
        domain.mta_sts_policy,
        domain.mta_sts_certified,
        domain.client_settings,
        domain.client_settings_certified,
    )
