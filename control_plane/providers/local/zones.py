"""The local nameserver's zones, by PowerDNS's HTTP API (doc.powerdns.com/authoritative/http-api)."""

import asyncio
import ipaddress
from http import HTTPStatus

import httpx

from control_plane.providers.base import ProviderBusy, ProviderError
from control_plane.providers.local.network import NAMESERVER, NETWORK_V6

#: Everything that servers resolve backwards: of IPv6 the zone is the upper half of the nibbles.
REVERSE_ZONE = "77.10.in-addr.arpa."
REVERSE_ZONE_V6 = f"{NETWORK_V6.network_address.reverse_pointer.split('.', 16)[-1]}."
OWN_NAME = "ns1.local.example."
#: Also how long a resolver may remember that a name is not there.
TTL_SECONDS = 5
#: Seconds between attempts.
_PAUSES = (0.05, 0.1, 0.2, 0.4)
_API = f"http://{NAMESERVER}:8081/api/v1/servers/localhost/zones"


def reverse_name(address: str) -> str:
    """Return the name whose PTR says who an address is (RFC 1035 section 3.5, RFC 3596 section 2.5)."""
    return f"{ipaddress.ip_address(address).reverse_pointer}."


class Zones:
    """Calls raise `ProviderBusy` while the nameserver does not answer, `ProviderError` when it refuses."""

    def __init__(self, api_key: str) -> None:
        self._headers = {"X-API-Key": api_key}
        self._one_at_a_time = asyncio.Lock()

    async def ensure(self, name: str) -> None:
        """Make an empty zone if there is none of that name."""
        found = await self._request("GET", f"{_API}/{'=2E' if name == '.' else name}", None)
        if found.status_code == HTTPStatus.NOT_FOUND:
            zone = {"name": name, "kind": "Native", "nameservers": [OWN_NAME]}
            _check(await self._request("POST", _API, zone))
        else:
            _check(found)

    async def set_reverse(self, address: str, hostname: str | None) -> None:
        """Set or (with None) remove the PTR of an address."""
        records = [] if hostname is None else [{"content": f"{hostname.rstrip('.')}.", "disabled": False}]
        change = {
            "name": reverse_name(address),
            "type": "PTR",
            "ttl": TTL_SECONDS,
            "changetype": "REPLACE" if records else "DELETE",
            "records": records,
        }
        zone = REVERSE_ZONE_V6 if ":" in address else REVERSE_ZONE
        _check(await self._request("PATCH", f"{_API}/{zone}", {"rrsets": [change]}))

    async def _request(self, method: str, url: str, body: object) -> httpx.Response:
        """Ask; again for a while when PowerDNS could not get at its database, which whoever publishes writes too."""
        async with self._one_at_a_time:
            for pause in _PAUSES:
                answer = await self._ask(method, url, body)
                if not answer.is_server_error:
                    return answer
                await asyncio.sleep(pause)
            return await self._ask(method, url, body)

    async def _ask(self, method: str, url: str, body: object) -> httpx.Response:
        try:
            async with httpx.AsyncClient(headers=self._headers, trust_env=False) as client:
                return await client.request(method, url, json=body)
        except httpx.TransportError as error:
            raise ProviderBusy(f"the nameserver does not answer: {error}") from error


def _check(response: httpx.Response) -> None:
    if response.is_server_error:
        raise ProviderBusy(f"the nameserver could not do {response.request.method}: {response.text}")
    if response.is_error:
        raise ProviderError(f"the nameserver refused {response.request.method}: {response.text}")
