"""Which DNS host this installation publishes to, as its settings say."""

import base64
import binascii

import dns.tsig

from control_plane.dns.publish import Publisher
from control_plane.dns.publishers.powerdns import PowerDnsPublisher
from control_plane.dns.publishers.rfc2136 import Primary, Rfc2136Publisher
from control_plane.settings import Settings


def make_publisher(settings: Settings) -> Publisher:
    """Return the publisher: a primary that takes signed updates where one is named, else PowerDNS.

    Raises `ValueError` for a TSIG secret that is no base64.
    """
    if settings.dns_update_primary:
        return Rfc2136Publisher(_primary(settings))
    return PowerDnsPublisher(
        settings.powerdns_url, settings.powerdns_api_key.get_secret_value(), f"ns1.{settings.platform_domain}"
    )


def _primary(settings: Settings) -> Primary:
    address, _, port = settings.dns_update_primary.rpartition(":")
    try:
        secret = base64.b64decode(settings.dns_update_secret.get_secret_value(), validate=True)
    except binascii.Error:
        raise ValueError("PENGUIN_DNS_UPDATE_SECRET is not base64") from None
    key = dns.tsig.Key(settings.dns_update_key_name, secret, dns.tsig.HMAC_SHA256)
    return Primary(address.strip("[]"), int(port), key)
