"""The REST application: the tenants' door, under /api/v1; OpenAPI at /openapi.json, for people at /docs.

Everything that comes in is untrusted: bodies are limited while they are read, unknown fields are refused, and an API
key decides the tenant, under whose row-level security the whole request runs. The database role is that of the API,
which can bypass nothing; the application does not start with another.

Beside it is the door for programs that speak to Amazon SES (ses/app.py).
"""

from fastapi import FastAPI

from control_plane.clock import Clock, utc_now
from control_plane.messages.together import AcceptsTogether
from control_plane.people.people import make_people
from control_plane.providers.registry import build_providers
from control_plane.rest import (
    aliases,
    api_keys,
    audit,
    batches,
    data_subjects,
    dns_records,
    domains,
    events,
    health,
    inboxes,
    invitations,
    ip_pools,
    mail_backups,
    mail_clients,
    members,
    messages,
    notices,
    preflight,
    publishers,
    queue,
    server_commands,
    server_operations,
    server_runs,
    suppressions,
    tenant,
    usage,
    vps,
    webhooks,
    workspaces,
)
from control_plane.rest.access import permissions_of
from control_plane.rest.auth import (
    joining,
    log_in,
    oidc,
    passkey_log_in,
    passkeys,
    passwords,
    published_keys,
    second_factor,
    security_events,
    sessions,
    sign_up,
)
from control_plane.rest.body_limit import MAX_BODY
from control_plane.rest.cursors import Cursors
from control_plane.rest.door import make_door
from control_plane.rest.parts import Parts
from control_plane.rest.rate_limiter import RateLimiter
from control_plane.rest.ses.app import PREFIX as SES_PREFIX
from control_plane.rest.ses.app import make_ses_app
from control_plane.rest.versioned_route import link_versions
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database

#: Connections to PostgreSQL of one process: as many requests are in a transaction at once, and others wait for one of
#: these. More than a processor's worth of Python can keep busy would be cold when a burst of requests reaches them.
_POOL_SIZE = 8


def make_app(settings: Settings, clock: Clock = utc_now) -> FastAPI:
    """Return the application; it connects to nothing before it is started."""
    database = Database(settings.api_database_url.get_secret_value(), pool_size=_POOL_SIZE, overflow=0)
    limiter = RateLimiter(settings.redis_url.get_secret_value())
    sealer = Sealer.of_file(settings.sealing_key_file)
    people = make_people(settings, database, sealer, clock)
    parts = Parts(
        settings=settings,
        database=database,
        sealer=sealer,
        providers=build_providers(settings),
        clock=clock,
        accepting=AcceptsTogether(database, clock),
        limiter=limiter,
        people=people,
    )
    # Routes are tried in this order: what is asked for most comes first.
    resources = [
        resource.router
        for resource in (
            *(messages, batches, vps, server_runs, server_commands, server_operations, preflight, health),
            *(inboxes, dns_records, domains, publishers, ip_pools, queue, api_keys),
            *(log_in, passkey_log_in, oidc, sign_up, passwords, sessions, second_factor, passkeys, joining),
            security_events,
            *(published_keys, members, invitations),
            *(webhooks, events, notices, usage, audit),
            *(tenant, mail_backups, workspaces, mail_clients, aliases, suppressions, data_subjects),
        )
    ]
    link_versions(resources)
    for route, permission in permissions_of(resources):
        route.openapi_extra = {**(route.openapi_extra or {}), "x-permission": permission.value}
    app = make_door(
        "PenguinMails",
        "/api/v1",
        resources,
        parts.database,
        Cursors(sealer),
        max_body=MAX_BODY,
        limiter=limiter,
        people=people,
        settings=settings,
    )
    app.state.parts = parts
    app.mount(SES_PREFIX, make_ses_app(parts))
    return app
