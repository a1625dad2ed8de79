"""Which DNS host a domain is at. Credentials come in and are never shown again."""

import binascii
import datetime as dt
import ipaddress
import uuid
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, status
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from control_plane.dns.publishers.choice import primary_of
from control_plane.dns.publishers.chosen import Choice, Kind, Shown, choose, show_choice
from control_plane.dns.publishers.operators_list import read_list
from control_plane.dns.publishers.public_only import is_public
from control_plane.errors import InvalidInput
from control_plane.inboxes.load import load_domain
from control_plane.rest.access import Access, transaction
from control_plane.rest.parts import parts_of
from control_plane.rest.resource_route import ResourceRoute
from control_plane.settings import Settings
from control_plane.tenancy.permissions import Permission

router = APIRouter(prefix="/domains/{domain_id}/publisher", tags=["domains"], route_class=ResourceRoute)

_Reading = Annotated[Access, transaction(Permission.READ_INBOXES)]
_Managing = Annotated[Access, transaction(Permission.MANAGE_INBOXES)]

_Secret = Annotated[SecretStr, Field(min_length=1, max_length=1000)]
_NOT_VERIFIED_LIVE = "Made from its documentation, not verified live."
_BY_HAND = "Nothing is written: publish the records as they are shown; they are verified every five minutes."
_NOTES: Mapping[Kind, str] = {
    Kind.MANUAL: _BY_HAND,
    Kind.HETZNER: _NOT_VERIFIED_LIVE,
    Kind.CLOUDFLARE: _NOT_VERIFIED_LIVE,
    Kind.OCTODNS: _NOT_VERIFIED_LIVE,
}


class _Host(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Installation(_Host):
    """The DNS host of this installation."""

    kind: Literal[Kind.INSTALLATION]


class Manual(_Host):
    """The zone's owner writes what is shown."""

    kind: Literal[Kind.MANUAL]


class PowerDns(_Host):
    """A PowerDNS server's HTTP API; the zone has to be there."""

    kind: Literal[Kind.POWERDNS]
    url: Annotated[str, Field(max_length=300)]
    api_key: _Secret


class Rfc2136(_Host):
    """A primary that takes updates signed with TSIG (HMAC-SHA256); `primary` is an IP address and a port."""

    kind: Literal[Kind.RFC2136]
    primary: Annotated[str, Field(max_length=60)]
    key_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$", max_length=253)]
    #: base64
    secret: _Secret


class Hetzner(_Host):
    """The DNS of a Hetzner Cloud project; the zone has to be there. Made from its documentation, not verified live."""

    kind: Literal[Kind.HETZNER]
    token: _Secret


class Cloudflare(_Host):
    """Cloudflare; the zone has to be there. Made from its documentation, not verified live."""

    kind: Literal[Kind.CLOUDFLARE]
    token: _Secret


class OctoDns(_Host):
    """A provider of octoDNS that this installation's operator has listed, with the credentials that it asks for."""

    kind: Literal[Kind.OCTODNS]
    provider: Annotated[str, Field(max_length=100)]
    credentials: Annotated[dict[str, _Secret], Field(max_length=20)]


NewPublisher = Annotated[
    Installation | Manual | PowerDns | Rfc2136 | Hetzner | Cloudflare | OctoDns, Field(discriminator="kind")
]


class PublisherView(BaseModel):
    """What is chosen, without credentials; `note` says what is to be known of it."""

    kind: Kind
    options: dict[str, str]
    note: str | None
    updated_at: dt.datetime | None


@router.get("")
async def show(domain_id: uuid.UUID, access: _Reading) -> PublisherView:
    """Show which DNS host the domain is at."""
    await load_domain(access.session, access.scope, domain_id)
    return await _view(access, domain_id)


@router.put("")
async def put(domain_id: uuid.UUID, body: NewPublisher, request: Request, access: _Managing) -> PublisherView:
    """Choose a DNS host. What was written at the one before stays there; the next repair writes to this one."""
    await load_domain(access.session, access.scope, domain_id)
    parts = parts_of(request)
    choice = _choice(body, parts.settings)
    await choose(access.session, access.scope.tenant_id, domain_id, choice, parts.sealer)
    return await _view(access, domain_id)


@router.delete("", status_code=status.HTTP_204_NO_CONTENT)
async def remove(domain_id: uuid.UUID, request: Request, access: _Managing) -> None:
    """Go back to the installation's own; credentials are forgotten."""
    await load_domain(access.session, access.scope, domain_id)
    await choose(access.session, access.scope.tenant_id, domain_id, Choice(), parts_of(request).sealer)


async def _view(access: Access, domain_id: uuid.UUID) -> PublisherView:
    shown: Shown = await show_choice(access.session, access.scope.tenant_id, domain_id)
    return PublisherView(
        kind=shown.kind, options=dict(shown.options), note=_NOTES.get(shown.kind), updated_at=shown.updated_at
    )


def _choice(body: NewPublisher, settings: Settings) -> Choice:
    match body:
        case PowerDns():
            _require_url(body.url, settings)
            return Choice(body.kind, {"url": body.url}, {"api_key": body.api_key.get_secret_value()})
        case Rfc2136():
            _require_primary(body, settings)
            options = {"primary": body.primary, "key_name": body.key_name}
            return Choice(body.kind, options, {"secret": body.secret.get_secret_value()})
        case Hetzner() | Cloudflare():
            return Choice(body.kind, {}, {"token": body.token.get_secret_value()})
        case OctoDns():
            given = {name: secret.get_secret_value() for name, secret in body.credentials.items()}
            _require_listed(body.provider, given, settings)
            return Choice(body.kind, {"provider": body.provider}, given)
        case Installation() | Manual():
            return Choice(body.kind)


def _require_url(url: str, settings: Settings) -> None:
    # What a name stands for is looked at when it is connected to, for that may change.
    try:
        parts = urlsplit(url)
        host, port_is_fine = parts.hostname or "", parts.port != 0
    except ValueError:
        host, port_is_fine = "", False
    fine = parts.scheme == "https" or (settings.dns_private_endpoints and parts.scheme == "http") if host else False
    if not (fine and port_is_fine) or parts.username or parts.query or parts.fragment or parts.path.strip("/"):
        raise InvalidInput("The URL must be https:// with a host, perhaps a port, and nothing else.", "/url")
    if not settings.dns_private_endpoints and not _may_be_public(host):
        raise InvalidInput("The DNS host must have a public address; ask the operator for any other.", "/url")


def _may_be_public(host: str) -> bool:
    try:
        return is_public(host)
    except ValueError:
        return "." in host.strip(".") and not host.rstrip(".").endswith((".localhost", ".local", ".internal"))


def _require_primary(body: Rfc2136, settings: Settings) -> None:
    try:
        primary = primary_of(body.primary, body.key_name, body.secret.get_secret_value())
        ipaddress.ip_address(primary.address)
    except binascii.Error:
        raise InvalidInput("The secret is not base64.", "/secret") from None
    except ValueError:
        raise InvalidInput("The primary must be an IP address and a port, as 192.0.2.53:53.", "/primary") from None
    if not 0 < primary.port < 65536:
        raise InvalidInput("The primary must be an IP address and a port, as 192.0.2.53:53.", "/primary")
    if not settings.dns_private_endpoints and not is_public(primary.address):
        raise InvalidInput("The primary must have a public address; ask the operator for any other.", "/primary")


def _require_listed(name: str, given: Mapping[str, str], settings: Settings) -> None:
    listed = read_list(settings.dns_octodns_file)
    if name not in listed:
        offered = ", ".join(sorted(listed)) or "none"
        raise InvalidInput(f"The operator has not listed this provider; listed are: {offered}.", "/provider")
    if set(given) != set(listed[name].credentials):
        asked = ", ".join(listed[name].credentials)
        raise InvalidInput(f"This provider asks for exactly these credentials: {asked}.", "/credentials")
