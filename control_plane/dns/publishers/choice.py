"""Make the publisher of this installation, as its settings say, or the one that a domain has chosen."""

import base64
import binascii

import dns.name
import dns.tsig

from control_plane.dns.plan import PublisherNeedsPerson
from control_plane.dns.publish import Publisher
from control_plane.dns.publishers.chosen import Choice, Kind
from control_plane.dns.publishers.cloudflare import CloudflarePublisher
from control_plane.dns.publishers.hetzner import HetznerPublisher
from control_plane.dns.publishers.manual import ManualPublisher
from control_plane.dns.publishers.operators_list import publisher_from_list, read_list
from control_plane.dns.publishers.powerdns import PowerDnsPublisher
from control_plane.dns.publishers.public_only import is_public
from control_plane.dns.publishers.rfc2136 import Primary, Rfc2136Publisher
from control_plane.settings import Settings


def make_publisher(settings: Settings) -> Publisher:
    """Return the publisher: a primary that takes signed updates where one is named, else PowerDNS.

    Raises `ValueError` for a TSIG secret that is no base64.
    """
    if settings.dns_update_primary:
        secret = settings.dns_update_secret.get_secret_value()
        try:
            return Rfc2136Publisher(primary_of(settings.dns_update_primary, settings.dns_update_key_name, secret))
        except binascii.Error:
            raise ValueError("PENGUIN_DNS_UPDATE_SECRET is not base64") from None
    return PowerDnsPublisher(
        settings.powerdns_url, settings.powerdns_api_key.get_secret_value(), f"ns1.{settings.platform_domain}"
    )


def publisher_for(choice: Choice, installation: Publisher, settings: Settings) -> Publisher:
    """Return the publisher that a domain has chosen, for one publishing; raise `PublisherNeedsPerson`."""
    match choice.kind:
        case Kind.INSTALLATION:
            return installation
        case Kind.MANUAL:
            return ManualPublisher()
        case _:
            return _tenants_own(choice, settings)


def _tenants_own(choice: Choice, settings: Settings) -> Publisher:
    options, credentials = choice.options, choice.credentials
    match choice.kind:
        case Kind.POWERDNS:
            guarded = not settings.dns_private_endpoints
            return PowerDnsPublisher(options["url"], credentials["api_key"], None, public_only=guarded)
        case Kind.RFC2136:
            primary = primary_of(options["primary"], options["key_name"], credentials["secret"])
            if not (settings.dns_private_endpoints or is_public(primary.address)):
                raise PublisherNeedsPerson(f"the primary {primary.address} is not public, and may not be used")
            return Rfc2136Publisher(primary)
        case Kind.HETZNER:
            return HetznerPublisher(credentials["token"], settings.hetzner_api_url)
        case Kind.CLOUDFLARE:
            return CloudflarePublisher(credentials["token"], settings.cloudflare_api_url)
        case _:
            return publisher_from_list(read_list(settings.dns_octodns_file), options["provider"], credentials)


def primary_of(place: str, key_name: str, secret: str) -> Primary:
    """Return a primary from `address:port` and a TSIG key (HMAC-SHA256); raise `binascii.Error` for no base64."""
    address, _, port = place.rpartition(":")
    key = dns.tsig.Key(dns.name.from_text(key_name), base64.b64decode(secret, validate=True), dns.tsig.HMAC_SHA256)
    return Primary(address.strip("[]"), int(port), key)
