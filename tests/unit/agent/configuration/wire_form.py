"""A spec in the wire's words, as the control plane sends it: the way back from `translate.to_spec`."""

from mailstack.spec import MailBackup, MailDomain, MailServerSpec
from protos.agent.v1 import configuration_pb2 as wire


def wire_form(spec: MailServerSpec) -> wire.MailServer:
    return wire.MailServer(
        hostname=spec.hostname,
        ipv4_address=spec.ipv4_address,
        nameservers=spec.nameservers,
        domains=[_domain(domain) for domain in spec.domains],
        mailboxes=[
            wire.Mailbox(address=box.address, password_hash=box.password_hash, quota_mb=box.quota_mb)
            for box in spec.mailboxes
        ],
        aliases=[wire.Alias(address=alias.address, targets=alias.targets) for alias in spec.aliases],
        probe=wire.ProbeMailbox(address=spec.probe.address, password=spec.probe.password),
        sending_addresses=[
            wire.SendingAddress(ipv4_address=each.ipv4_address, hostname=each.hostname, senders=each.senders)
            for each in spec.sending_addresses
        ],
        forwards=[wire.MailForward(address=each.address, host=each.host or "") for each in spec.forwards],
        copy_doors=[
            wire.CopyDoor(
                login=each.login,
                password_hash=each.password_hash,
                address=each.address,
                client_ipv4_address=each.client_ipv4_address,
                client_ipv6_address=each.client_ipv6_address or "",
            )
            for each in spec.copy_doors
        ],
        copies=[
            wire.MailboxCopy(
                address=each.address,
                source_host=each.source_host,
                login=each.login,
                password=each.password,
                verify_certificate=each.verify_certificate,
            )
            for each in spec.copies
        ],
        ipv6_address=spec.ipv6_address or "",
        sends_over_ipv6=spec.sends_over_ipv6,
        backup=_backup(spec.backup) if spec.backup else None,
        settings=[wire.Setting(name=name, value=value) for name, value in spec.tunables.changed.items()],
    )


def _backup(backup: MailBackup) -> wire.MailBackup:
    return wire.MailBackup(
        repository=backup.repository,
        password=backup.password,
        credentials=dict(backup.credentials),
        server=backup.server,
    )


def _domain(domain: MailDomain) -> wire.MailDomain:
    keys = [
        wire.DkimKey(selector=key.selector, private_key_pem=key.private_key_pem, active=key.active)
        for key in domain.dkim_keys
    ]
    return wire.MailDomain(
        name=domain.name,
        dkim_keys=keys,
        mta_sts_policy=domain.mta_sts_policy,
        mta_sts_certified=domain.mta_sts_certified,
        client_settings=domain.client_settings,
        client_settings_certified=domain.client_settings_certified,
    )
