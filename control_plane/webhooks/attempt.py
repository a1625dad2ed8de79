"""One attempt to tell an endpoint: the only place that connects to what a tenant has named.

The name is resolved here, each address that it has is judged, and one of those is connected to, while TLS and the Host
header keep the name; so a name that answers differently the next time gains nothing. It is done anew for each attempt:
no connection is kept, for one to the same address may have been made for another name. Redirects are not followed, no
proxy is used, and nothing is read of an answer but its status and `Retry-After`: what is in there is nobody's business.
"""

import asyncio
import datetime as dt
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial

import httpx

from control_plane.clock import Clock, utc_now
from control_plane.webhooks.addresses import is_public

#: Seconds that an attempt may take in all.
TIMEOUT = 10.0
#: Addresses of one name that are tried in one attempt.
_MOST_ADDRESSES = 4
_LONGEST_RETRY_AFTER = dt.timedelta(days=1)
#: The system's resolver waits half a minute for name servers that do not answer, and cannot be given up. So it has
#: threads of its own, more than attempts are begun in that time: nobody else's work waits behind a tenant's name.
_LOOK_UPS = ThreadPoolExecutor(128, "look-up")

#: Return the addresses of a host; raise `OSError`.
Resolve = Callable[[str], Awaitable[Sequence[str]]]
#: Return whether one of these addresses is a server of ours.
IsOurs = Callable[[Sequence[str]], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, or an error in words when none did."""

    status: int | None
    error: str | None = None
    retry_after: dt.timedelta | None = None

    @property
    def delivered(self) -> bool:
        """Whether the endpoint has taken it."""
        return self.status is not None and 200 <= self.status < 300


class TargetRefused(Exception):
    """The URL leads to where tenants may not send us."""


async def addresses_of(host: str) -> Sequence[str]:
    """Return the host's addresses as the system's resolver has them, best first."""
    look_up = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOK_UPS, look_up)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _not_ours(_: Sequence[str]) -> bool:
    return False


class Poster:
    """Posts to endpoints; `aclose` it at the end."""

    def __init__(
        self,
        *,
        private_targets: bool = False,
        resolve: Resolve = addresses_of,
        is_ours: IsOurs = _not_ours,
        tls: ssl.SSLContext | None = None,
        clock: Clock = utc_now,
        timeout_seconds: float = TIMEOUT,
    ) -> None:
        self._private_targets = private_targets
        self._resolve = resolve
        self._is_ours = is_ours
        self._clock = clock
        self._timeout = timeout_seconds
        self._client = httpx.AsyncClient(
            verify=tls or ssl.create_default_context(),
            trust_env=False,
            follow_redirects=False,
            timeout=timeout_seconds,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post once and return what came of it; raises nothing that an endpoint could cause."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(httpx.URL(url), body, headers)
        except TimeoutError:
            return Answer(None, f"no answer within {self._timeout:.0f} seconds")
        except TargetRefused as refused:
            return Answer(None, str(refused))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Answer(None, f"{type(error).__name__}: the connection failed")
        except (OSError, UnicodeError):
            return Answer(None, "the name has no address")

    async def aclose(self) -> None:
        """Let go of what is still connected."""
        await self._client.aclose()

    async def _post(self, url: httpx.URL, body: bytes, headers: Mapping[str, str]) -> Answer:
        addresses = await self._judged(url)
        for address in addresses[:-1]:
            try:
                return await self._post_to(address, url, body, headers)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._post_to(addresses[-1], url, body, headers)

    async def _judged(self, url: httpx.URL) -> Sequence[str]:
        if url.scheme != "https" and not self._private_targets:
            raise TargetRefused("the URL is not https://")
        found = await self._resolve(url.raw_host.decode("ascii").strip("[]"))
        if not found:
            raise TargetRefused("the name has no address")
        if not self._private_targets and not all(map(is_public, found)):
            raise TargetRefused("the name has an address that is not public")
        if await self._is_ours(found):
            raise TargetRefused("the name has the address of a mail server of ours")
        return found[:_MOST_ADDRESSES]

    async def _post_to(self, address: str, url: httpx.URL, body: bytes, headers: Mapping[str, str]) -> Answer:
        name = url.raw_host.decode("ascii")
        request = self._client.build_request(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers={**headers, "host": url.netloc.decode("ascii")},
            extensions={"sni_hostname": name},
        )
        answer = await self._client.send(request, stream=True)
        try:
            return Answer(answer.status_code, retry_after=_retry_after(answer.headers, self._clock()))
        finally:
            await answer.aclose()


def _retry_after(headers: httpx.Headers, now: dt.datetime) -> dt.timedelta | None:
    """Read seconds or a date (RFC 9110, section 10.2.3); what is neither says nothing."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(dt.timedelta(seconds=min(int(text[:9]), 10**8)), _LONGEST_RETRY_AFTER)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter for an offset from UTC of many digits
        return None
    wait = (at if at.tzinfo else at.replace(tzinfo=dt.UTC)) - now
    return min(max(wait, dt.timedelta(0)), _LONGEST_RETRY_AFTER)
