"""Looks at domains' MTA-STS policies as other mail servers do: every five minutes what was not seen, else once a day.

A policy counts as seen when each server that it names shows a certificate that is trusted and for its name, and the
policy itself comes over HTTPS under its own name, word for word (RFC 8461, sections 3.3 and 4.1). Only then may it be
enforced.

SECURITY: goes to servers of ours alone, by their rows' addresses, whatever a tenant's zone says. No redirect is
followed, no proxy used, and no more read than a policy has.
"""

import asyncio
import datetime as dt
import logging
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import text

from control_plane.dns.mta_sts import HOST_LABEL, PATH, Policy, policy_of
from control_plane.monitoring.probe import may_be_looked_at
from db.session import Database

#: Seconds for one policy.
_TIMEOUT = 10.0
_LARGEST_POLICY = 64 * 1024
#: Policies that are looked at side by side.
_AT_ONCE = 10
#: Less than a day, so that a job that starts a moment earlier than yesterday's does not wait for tomorrow's.
_DAILY = dt.timedelta(hours=23, minutes=55)

_POLICIES = text(
    "SELECT d.id, d.name, d.mta_sts, policy_hosts(d.id) AS hosts, d.mta_sts_seen, host(v.ip_address) AS address,"
    " coalesce(d.mta_sts_looked_at < :now - CAST(:daily AS interval), true) AS old,"
    " (SELECT json_object_agg(s.hostname, host(s.ip_address)) FROM vps_servers s WHERE s.ip_address IS NOT NULL"
    "  AND s.id IN (SELECT o.vps_id FROM inboxes o WHERE o.domain_id = d.id AND o.status <> 'deleting')) AS servers"
    " FROM domains d JOIN inboxes i ON i.id = policy_inbox(d.id) JOIN vps_servers v ON v.id = i.vps_id"
    " WHERE d.mta_sts <> 'none' AND v.ip_address IS NOT NULL"
)
# What was changed meanwhile is looked at the next time.
_NOTE = text(
    "UPDATE domains SET mta_sts_seen = :seen, mta_sts_looked_at = :now, mta_sts_detail = :detail"
    " WHERE id = :id AND mta_sts = :mta_sts"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """A domain with the policy that it should show, from `address`, and its servers' addresses by host name."""

    id: uuid.UUID
    name: str
    policy: Policy
    address: str
    servers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ports:
    """Where servers show what is looked at; a test has others. Every port of mail shows the same certificate."""

    https: int = 443
    submissions: int = 465


SERVED = Ports()


class NotSeen(Exception):
    """Another mail server would have no use for the policy; the message says why."""


async def look_at_policies(database: Database, roots: Path | None, now: dt.datetime, ports: Ports = SERVED) -> None:
    """Look at each policy that is due, and note what was seen; `roots` are trusted, or the operating system's."""
    due = await _due(database, now)
    if not due:
        return
    try:
        trust = ssl.create_default_context(cafile=str(roots) if roots else None)
    except OSError as error:
        _log.warning("MTA-STS policies are not looked at, for %s cannot be read: %s", roots, error)
        return
    turns = asyncio.Semaphore(_AT_ONCE)
    found = await asyncio.gather(*(_look(shown, trust, ports, turns) for shown in due))
    rows = [
        {
            "id": shown.id,
            "mta_sts": shown.policy.mode,
            "seen": None if wrong else shown.policy.id,
            "detail": wrong,
            "now": now,
        }
        for shown, wrong in zip(due, found, strict=True)
    ]
    async with database.system() as session:
        await session.execute(_NOTE, rows)


async def _due(database: Database, now: dt.datetime) -> list[Shown]:
    async with database.system() as session:
        rows = (await session.execute(_POLICIES, {"now": now, "daily": _DAILY})).all()
    policies = [(row, policy_of(row.mta_sts, row.hosts)) for row in rows]
    return [
        Shown(row.id, row.name, policy, row.address, row.servers)
        for row, policy in policies
        if policy is not None and (row.old or row.mta_sts_seen != policy.id) and may_be_looked_at(row.address)
    ]


async def _look(shown: Shown, trust: ssl.SSLContext, ports: Ports, turns: asyncio.Semaphore) -> str | None:
    """Return what is wrong, or None."""
    async with turns:
        try:
            async with asyncio.timeout(_TIMEOUT):
                for hostname in shown.policy.hosts:
                    await _see_server(hostname, shown.servers.get(hostname), trust, ports.submissions)
                await _see_policy(shown, trust, ports.https)
        except TimeoutError:
            return f"no answer within {_TIMEOUT:.0f} seconds"
        except NotSeen as error:
            return str(error)
    return None


async def _see_server(hostname: str, address: str | None, trust: ssl.SSLContext, port: int) -> None:
    if address is None or not may_be_looked_at(address):
        raise NotSeen(f"{hostname} has no address at which it can be seen from here")
    try:
        _, writer = await asyncio.open_connection(address, port, ssl=trust, server_hostname=hostname)
    except ssl.SSLError as error:
        raise NotSeen(f"{hostname} shows no certificate that is trusted: {_reason(error)}") from error
    except OSError as error:
        raise NotSeen(f"{hostname} does not answer") from error
    writer.close()


async def _see_policy(shown: Shown, trust: ssl.SSLContext, port: int) -> None:
    host = f"{HOST_LABEL}.{shown.name}"
    url = httpx.URL(scheme="https", host=shown.address, port=port, path=PATH)
    # Not as the keyword arguments of the client: the name is kept for TLS and Host while the address is ours.
    extensions = {"sni_hostname": host}
    async with httpx.AsyncClient(verify=trust, trust_env=False, follow_redirects=False, timeout=_TIMEOUT) as client:
        try:
            async with client.stream("GET", url, headers={"host": host}, extensions=extensions) as answer:
                body = await _read(answer)
        except httpx.HTTPError as error:
            raise NotSeen(f"https://{host}{PATH} does not answer: {_reason(error)}") from error
    if answer.status_code != httpx.codes.OK:
        raise NotSeen(f"https://{host}{PATH} answers {answer.status_code}")
    if answer.headers.get("content-type", "").partition(";")[0].strip() != "text/plain":
        raise NotSeen(f"https://{host}{PATH} is not text/plain")
    if body != shown.policy.text.encode():
        raise NotSeen(f"https://{host}{PATH} shows another policy")


async def _read(answer: httpx.Response) -> bytes:
    body = b""
    async for part in answer.aiter_raw():
        body += part
        if len(body) > _LARGEST_POLICY:
            break
    return body


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]
