"""Publish to Cloudflare by its API, through octoDNS. Made from its documentation, not verified live."""

from octodns_cloudflare import Cloudflare5xxError, CloudflareProvider, CloudflareRateLimitError

from control_plane.dns.plan import PublisherUnavailable
from control_plane.dns.publishers.octodns_zone import OctoDnsPublisher

_TIMEOUT_SECONDS = 10


class _Impatient(CloudflareProvider):  # type: ignore[misc]  # octoDNS is not typed
    """Raises at once what octoDNS would sleep over, for minutes; the run looks again by itself."""

    def _try_request(self, *args: object, **more: object) -> object:
        try:
            return self._request(*args, **more)
        except (CloudflareRateLimitError, Cloudflare5xxError) as error:
            raise PublisherUnavailable(f"Cloudflare asks for patience: {error}") from error


class CloudflarePublisher(OctoDnsPublisher):
    """One account; the token needs the right to edit DNS of the zone. Zones have to be there already."""

    def __init__(self, token: str, api_url: str) -> None:
        provider = _Impatient("cloudflare", token=token, pagerules=False, timeout=_TIMEOUT_SECONDS, api_url=api_url)
        super().__init__(provider)
