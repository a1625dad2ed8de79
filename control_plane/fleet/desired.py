"""What a server should be: its version, raised with each change, and the rows behind it as one message.

Whoever changes something that a server's configuration shows raises the version in the same transaction; the
notification tells the hub that holds the link, which loads the state anew and sends it.
"""

import uuid
from collections.abc import Collection, Sequence

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.data_keys.keys import keys_for
from control_plane.errors import Conflict, NotFound
from control_plane.fleet.configurations import settings_of
from control_plane.fleet.mail_backups import mail_backup_of
from control_plane.fleet.policies import add_shown
from control_plane.sealing import DataKeys, Sealer
from protos.agent.v1.configuration_pb2 import (
    Alias,
    CertificateAuthority,
    CopyDoor,
    DesiredState,
    DkimKey,
    Mailbox,
    MailboxCopy,
    MailDomain,
    MailForward,
    MailServer,
    ProbeMailbox,
    SendingAddress,
    Setting,
)

#: Local part of the mailbox that verification uses; its domain is the server's host name.
PROBE_LOCAL_PART = "penguin-probe"

_RAISE = text("UPDATE vps_servers SET desired_version = desired_version + 1 WHERE id = :vps RETURNING desired_version")
_VERSIONS = text("SELECT id, desired_version FROM vps_servers WHERE id = ANY(:servers)")
_NOTIFY = text("SELECT pg_notify('desired_state', :vps)")
# Read before the rows that it stands for: what is committed in between is sent once more, under a newer version.
_SERVER = text(
    "SELECT desired_version, hostname, host(ip_address) AS ipv4_address, coalesce(host(ipv6_address), '') AS"
    " ipv6_address, ipv6_sending_since IS NOT NULL AS sends_over_ipv6, probe_password_sealed, drift_policy, provider"
    " FROM vps_servers WHERE id = :vps"
)
# A mail server that does not have its mailboxes turns away for good what comes for them.
_IS_HELD = text("SELECT EXISTS (SELECT FROM server_rebuilds WHERE vps_id = :vps AND holds_configuration)")
_MAILBOXES = text(
    "SELECT email_address, password_hash, coalesce(quota_mb, 0) FROM inboxes i"
    " WHERE status <> 'deleting' AND (vps_id = :vps"
    " OR EXISTS (SELECT FROM inbox_moves m WHERE m.inbox_id = i.id AND m.target_id = :vps"
    "            AND m.state IN ('copying', 'holding')))"
    " AND NOT EXISTS (SELECT FROM inbox_moves m WHERE m.inbox_id = i.id AND m.source_id = :vps AND m.state = 'holding')"
    " ORDER BY email_address"
)
# Until the switch the target copies, and passes on what comes to it; from shortly before it the source keeps mail
# waiting, until the target takes it, and then passes it on.
_MOVES = text(
    "SELECT m.id, m.state, m.source_id, m.target_id, m.password_sealed, m.password_hash, i.email_address,"
    " s.hostname AS source_host, t.hostname AS target_host, host(t.ip_address) AS target_address,"
    " coalesce(host(t.ipv6_address), '') AS target_ipv6_address"
    " FROM inbox_moves m JOIN inboxes i ON i.tenant_id = m.tenant_id AND i.id = m.inbox_id"
    " JOIN vps_servers s ON s.id = m.source_id JOIN vps_servers t ON t.id = m.target_id"
    " WHERE (m.source_id = :vps OR m.target_id = :vps) AND m.finished_at IS NULL"
    " AND i.status <> 'deleting' ORDER BY i.email_address"
)
# Those that are being got are taken up before anybody sends by them; an inbox may have gone to another server.
_ADDRESSES = text(
    "SELECT host(a.address) AS address, a.hostname, ARRAY(SELECT i.email_address FROM sender_bindings b"
    "  JOIN inboxes i ON i.tenant_id = b.tenant_id AND i.id = b.inbox_id AND i.vps_id = a.vps_id"
    "  WHERE b.tenant_id = a.tenant_id AND b.address_id = a.id AND b.until IS NULL AND i.status <> 'deleting'"
    "  ORDER BY i.email_address) AS senders"
    " FROM server_addresses a WHERE a.vps_id = :vps AND a.address IS NOT NULL"
    " AND a.state IN ('requested', 'ready', 'draining') ORDER BY a.address"
)
_DKIM_KEYS = text(
    "SELECT d.name AS domain, k.id, k.selector, k.private_key_sealed, k.active"
    " FROM domains d LEFT JOIN dkim_keys k ON k.tenant_id = d.tenant_id AND k.domain_id = d.id"
    " WHERE EXISTS (SELECT FROM inboxes i WHERE i.tenant_id = d.tenant_id AND i.domain_id = d.id"
    "               AND i.status <> 'deleting' AND (i.vps_id = :vps OR EXISTS (SELECT FROM inbox_moves m"
    "                WHERE m.inbox_id = i.id AND ((m.target_id = :vps AND m.state IN ('copying', 'holding'))"
    "                 OR (m.source_id = :vps AND m.state IN ('arriving', 'forwarding'))))))"
    " ORDER BY d.name, k.selector"
)
# Wherever mail of the domain may come: beside the server that has the mailbox, where that moves from or to.
_ALIASES = text(
    "SELECT a.email_address, i.email_address AS target"
    " FROM inbox_aliases a JOIN inboxes i ON i.tenant_id = a.tenant_id AND i.id = a.inbox_id"
    " WHERE a.removed_at IS NULL AND i.status <> 'deleting' AND (i.vps_id = :vps OR EXISTS (SELECT FROM inbox_moves m"
    "  WHERE m.inbox_id = i.id AND ((m.target_id = :vps AND m.state IN ('copying', 'holding'))"
    "   OR (m.source_id = :vps AND m.state IN ('arriving', 'forwarding')))))"
    " ORDER BY a.email_address"
)


async def raise_desired_version(session: AsyncSession, vps_id: uuid.UUID) -> int:
    """Raise the server's version, tell the hubs when the transaction commits, and return the new version.

    Raises `NotFound`.
    """
    version: int | None = await session.scalar(_RAISE, {"vps": vps_id})
    if version is None:
        raise NotFound("there is no such server")
    await session.execute(_NOTIFY, {"vps": str(vps_id)})
    return version


async def desired_versions(session: AsyncSession, servers: Sequence[uuid.UUID]) -> dict[uuid.UUID, int]:
    """Return the versions of what servers should be, of those that there are."""
    return {row.id: row.desired_version for row in await session.execute(_VERSIONS, {"servers": list(servers)})}


async def load_desired_state(
    session: AsyncSession,
    vps_id: uuid.UUID,
    sealer: Sealer,
    nameservers: Sequence[str],
    authority: CertificateAuthority | None = None,
    *,
    acme_port_providers: Collection[str] = (),
) -> DesiredState:
    """Return what the server should be; system role, since it opens sealed keys.

    Its certificate comes from `authority`, or is its own where there is none; at one of `acme_port_providers` it waits
    for port 80 before it asks, unless the authority looks for a record.
    Raises `NotFound`, `Conflict` while the server has no address or is to stay empty for its mail, and `SealBroken`.
    """
    server = (await session.execute(_SERVER, {"vps": vps_id})).mappings().one_or_none()
    if server is None:
        raise NotFound("there is no such server")
    if server["ipv4_address"] is None:
        raise Conflict("the server has no address yet")
    if await session.scalar(_IS_HELD, {"vps": vps_id}):
        raise Conflict("the server is being rebuilt, and its mail is not back yet")
    mailboxes = (await session.execute(_MAILBOXES, {"vps": vps_id})).all()
    aliases = (await session.execute(_ALIASES, {"vps": vps_id})).all()
    addresses = (await session.execute(_ADDRESSES, {"vps": vps_id})).all()
    keys = (await session.execute(_DKIM_KEYS, {"vps": vps_id})).mappings().all()
    moves = (await session.execute(_MOVES, {"vps": vps_id})).mappings().all()
    leaving = [move for move in moves if move["source_id"] == vps_id]
    coming = [move for move in moves if move["target_id"] == vps_id]
    sealed = [server["probe_password_sealed"], *(key["private_key_sealed"] for key in keys)]
    opening = await keys_for(session, sealer, [*sealed, *(move["password_sealed"] for move in coming)])
    domains = _domains(keys, opening)
    await add_shown(session, vps_id, domains, authority)
    settings = await settings_of(session, vps_id)
    backup = await mail_backup_of(session, sealer, vps_id)
    return DesiredState(
        version=server["desired_version"],
        only_show_drift=server["drift_policy"] == "show",
        server=MailServer(
            hostname=server["hostname"],
            ipv4_address=server["ipv4_address"],
            ipv6_address=server["ipv6_address"],
            sends_over_ipv6=server["sends_over_ipv6"],
            backup=backup,
            nameservers=nameservers,
            authority=_authority(authority, waits=server["provider"] in acme_port_providers),
            domains=domains,
            mailboxes=[
                Mailbox(address=address, password_hash=hashed, quota_mb=quota) for address, hashed, quota in mailboxes
            ],
            aliases=[Alias(address=address, targets=[target]) for address, target in aliases],
            probe=_probe(vps_id, server, opening),
            sending_addresses=[
                SendingAddress(ipv4_address=address, hostname=hostname, senders=senders)
                for address, hostname, senders in addresses
            ],
            forwards=_forwards(leaving, coming),
            copy_doors=[_copy_door(move) for move in leaving if move["password_hash"]],
            copies=[_copy(move, opening, authority) for move in coming if move["password_hash"]],
            settings=[Setting(name=name, value=value) for name, value in settings.items()],
        ),
    )


def _authority(authority: CertificateAuthority | None, *, waits: bool) -> CertificateAuthority | None:
    if authority is None or authority.by_dns or not waits:
        return authority
    told = CertificateAuthority(port_on_request=True)
    told.MergeFrom(authority)
    return told


def _probe(vps_id: uuid.UUID, server: RowMapping, opening: DataKeys) -> ProbeMailbox:
    password = opening.open(server["probe_password_sealed"], f"vps_servers.probe_password:{vps_id}")
    return ProbeMailbox(address=f"{PROBE_LOCAL_PART}@{server['hostname']}", password=password.decode())


def _forwards(leaving: Sequence[RowMapping], coming: Sequence[RowMapping]) -> list[MailForward]:
    """Return where mail goes for mailboxes that move: always to the one server that has the mailbox just then.

    Until the switch the target has a copy, which is made the same as the source's: what was delivered into it would be
    lost.
    """
    on = [
        MailForward(address=move["email_address"], host=move["target_host"] if move["state"] == "forwarding" else "")
        for move in leaving
        if move["state"] in {"holding", "arriving", "forwarding"}
    ]
    back = [
        MailForward(address=move["email_address"], host=move["source_host"])
        for move in coming
        if move["state"] in {"copying", "holding"}
    ]
    return on + back


def _copy_door(move: RowMapping) -> CopyDoor:
    return CopyDoor(
        login=_copy_login(move),
        password_hash=move["password_hash"],
        address=move["email_address"],
        client_ipv4_address=move["target_address"],
        client_ipv6_address=move["target_ipv6_address"],
    )


def _copy(move: RowMapping, opening: DataKeys, authority: CertificateAuthority | None) -> MailboxCopy:
    password = opening.open(move["password_sealed"], f"inbox_moves.password:{move['id']}")
    return MailboxCopy(
        address=move["email_address"],
        source_host=move["source_host"],
        login=_copy_login(move),
        password=password.decode(),
        # One that has roots of its own is not among those that operating systems trust.
        verify_certificate=authority is not None and not authority.roots_pem,
    )


def _copy_login(move: RowMapping) -> str:
    return f"penguin-move-{move['id'].hex[:12]}@{move['source_host']}"


def _domains(rows: Sequence[RowMapping], opening: DataKeys) -> list[MailDomain]:
    domains: dict[str, MailDomain] = {}
    for row in rows:
        domain = domains.setdefault(row["domain"], MailDomain(name=row["domain"]))
        if row["id"] is not None:
            domain.dkim_keys.append(_dkim_key(row, opening))
    return list(domains.values())


def _dkim_key(row: RowMapping, opening: DataKeys) -> DkimKey:
    der = opening.open(row["private_key_sealed"], f"dkim_keys.private_key:{row['id']}")
    key = load_der_private_key(der, password=None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return DkimKey(selector=row["selector"], private_key_pem=pem, active=row["active"])
