"""Publish to PowerDNS by its HTTP API."""

from urllib.parse import urlsplit

from octodns_powerdns import PowerDnsProvider

from control_plane.dns.publishers.octodns_zone import OctoDnsPublisher
from control_plane.dns.publishers.public_only import PublicOnly

_TIMEOUT_SECONDS = 10


class PowerDnsPublisher(OctoDnsPublisher):
    """One PowerDNS server; with `public_only`, nothing is sent to an address that is not public."""

    def __init__(self, url: str, api_key: str, new_zone_nameserver: str | None, *, public_only: bool = False) -> None:
        parts = urlsplit(url)
        provider = PowerDnsProvider(
            "powerdns",
            host=parts.hostname,
            port=parts.port or (443 if parts.scheme == "https" else 8081),
            scheme=parts.scheme,
            api_key=api_key,
            timeout=_TIMEOUT_SECONDS,
            mode_of_operation="native",
            enable_dynamic=False,
            root_ns_warnings=False,
        )
        session = provider._sess  # noqa: SLF001 - octoDNS gives no other way
        # Never through a proxy that our environment may name: the API is on our own network, or guarded.
        session.trust_env = False
        if public_only:
            session.mount("http://", PublicOnly())
            session.mount("https://", PublicOnly())
        super().__init__(provider, new_zone_nameserver)
