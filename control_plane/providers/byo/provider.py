"""The provider `byo`: servers that a person brings. Nobody is asked for anything; the rows say what is there.

A server is there from its agent's enrolment (`penguin node join-command` prints what makes it enrol) until the agent's
right to speak is taken. What a provider would do is the person's: calls say what to do and look whether it is done.
"""

import dns.asyncresolver
import dns.exception
import dns.resolver
import dns.reversename
from sqlalchemy import text

from control_plane.providers.base import (
    Capability,
    NeedsPerson,
    PowerState,
    ProviderBusy,
    ProviderError,
    ProviderServer,
    ServerOrder,
)
from db.session import Database

#: Seconds between two looks; the person has the terminal open.
_JOIN_SECONDS = 1.0
_POINTER_SECONDS = 5.0
_LOOKUP_SECONDS = 5.0
_PREFIX = "pm-"

_JOINED = text(
    "SELECT v.id, host(v.ip_address) AS address, host(v.ipv6_address) AS ipv6_address,"
    " (r.report -> 'host' ->> 'cpu_count')::int AS cores,"
    " (r.report -> 'host' ->> 'memory_total_bytes')::bigint AS memory,"
    " (SELECT max((disk ->> 'total_bytes')::bigint) FROM jsonb_array_elements(r.report -> 'disks') disk) AS disk"
    " FROM vps_servers v LEFT JOIN vps_reports r ON r.vps_id = v.id"
    " WHERE v.provider = 'byo' AND starts_with(replace(v.id::text, '-', ''), :stem) AND v.ip_address IS NOT NULL"
    " AND EXISTS (SELECT FROM agent_certificates c WHERE c.vps_id = v.id AND c.revoked_at IS NULL)"
)
_TOKEN = text(
    "SELECT EXISTS (SELECT FROM join_tokens WHERE starts_with(replace(vps_id::text, '-', ''), :stem)"
    " AND expires_at > now())"
)
_FORGET = text(
    "UPDATE agent_certificates SET revoked_at = now() WHERE revoked_at IS NULL AND vps_id IN"
    " (SELECT id FROM vps_servers WHERE provider = 'byo' AND starts_with(replace(id::text, '-', ''), :stem))"
)


class ByoProvider:
    """Implements `providers.base.Provider`; `database` is the system role's, None where only the offer is shown."""

    key = "byo"
    sizes: tuple[str, ...] = ("own",)
    regions: tuple[str, ...] = ("own",)
    capabilities: frozenset[Capability] = frozenset()

    def __init__(self, database: Database | None, nameservers: tuple[str, ...]) -> None:
        self._database = database
        self._nameservers = nameservers

    async def create(self, order: ServerOrder) -> ProviderServer:
        """Ask for the person: a server comes when its join command is run on it.

        Raises `ProviderBusy` when it is too late to ask, and `NeedsPerson` otherwise.
        """
        order.refuse_late()
        if await self._has_token(order.name):
            raise NeedsPerson("run the join command on the server, as root; it has not joined yet", _JOIN_SECONDS)
        raise NeedsPerson(
            f"there is no join command that is still good for {order.hostname}: make one with"
            f" `penguin node join-command --hostname {order.hostname}` and run it on the server, as root",
            _JOIN_SECONDS,
        )

    async def find(self, name: str) -> ProviderServer | None:
        """Return the server once it has enrolled; raise `ProviderBusy` until it has told how large it is."""
        async with self._rows().system() as session:
            row = (await session.execute(_JOINED, {"stem": _stem(name)})).one_or_none()
        if row is None:
            return None
        if row.memory is None:
            raise ProviderBusy("the server has enrolled, and tells how it is", 0.3)
        return ProviderServer(
            provider_id=str(row.id),
            name=name,
            ipv4_address=row.address,
            ipv6_address=row.ipv6_address,
            power=PowerState.RUNNING,
            cores=row.cores,
            memory_bytes=row.memory,
            disk_bytes=row.disk or 0,
            monthly_cost=None,
        )

    async def delete(self, name: str) -> None:
        """Take its agent the right to speak; the machine itself is the person's to wipe."""
        async with self._rows().system() as session:
            await session.execute(_FORGET, {"stem": _stem(name)})

    async def power_off(self, name: str) -> None:
        """Refuse."""
        raise _not_ours(name, "switch it off")

    async def power_on(self, name: str) -> None:
        """Refuse."""
        raise _not_ours(name, "switch it on")

    async def reboot(self, name: str) -> None:
        """Refuse."""
        raise _not_ours(name, "restart it")

    async def set_reverse_dns(self, name: str, ipv4_address: str, hostname: str | None) -> None:
        """Look whether the PTR is that name; raise `NeedsPerson`, saying what to set, when it is not."""
        if hostname is None or (found := await self._pointer(ipv4_address)) == hostname:
            return
        raise NeedsPerson(
            f"{name} is your own: set the reverse DNS (PTR) of {ipv4_address} to {hostname} where the address is from"
            f" ({f'it is {found}' if found else 'there is none'} now)",
            _POINTER_SECONDS,
        )

    async def _pointer(self, address: str) -> str | None:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = list(self._nameservers)
        resolver.lifetime = _LOOKUP_SECONDS
        try:
            answer = await resolver.resolve(dns.reversename.from_address(address), "PTR")
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return None
        except dns.exception.DNSException as error:
            raise ProviderBusy(f"the reverse DNS of {address} cannot be looked up ({type(error).__name__})") from None
        return min(str(record.target).removesuffix(".").lower() for record in answer)

    async def _has_token(self, name: str) -> bool:
        async with self._rows().system() as session:
            return bool(await session.scalar(_TOKEN, {"stem": _stem(name)}))

    def _rows(self) -> Database:
        if self._database is None:
            raise ProviderError("this process only says that servers can be brought")
        return self._database


def _stem(name: str) -> str:
    """Return the digits of the server's id that its name holds."""
    return name.removeprefix(_PREFIX)


def _not_ours(name: str, deed: str) -> ProviderError:
    return ProviderError(f"{name} is a server of your own: {deed} where you have it from")
