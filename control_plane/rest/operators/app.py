"""The operators' REST application, under /operator/v1; OpenAPI at /openapi.json, for people at /docs.

It sees all tenants: its database role is the system's, which the tenants' application does not have. So it is a process
of its own behind a socket of its own, and no route is shared. Each route names the scopes that open it, or the
application cannot be made. Whatever a route changes, it records in the same transaction.

SECURITY: listens on loopback and speaks plain HTTP; who offers it to a network puts TLS in front of it.
"""

import os

from fastapi import FastAPI

from control_plane.clock import utc_now
from control_plane.operators.rule_files import RuleFiles
from control_plane.rest.cursors import Cursors
from control_plane.rest.door import make_door
from control_plane.rest.operators import (
    acts,
    alerting,
    alerts,
    dead_letters,
    fleet,
    fleet_health,
    fleet_packages,
    fleet_settings,
    mail_backups,
    orphans,
    pauses,
    prometheus,
    queue,
    server_commands,
    tenants,
    upgrades,
)
from control_plane.rest.operators.access import OperatorParts, scopes_named
from control_plane.rest.versioned_route import link_versions
from control_plane.sealing import KEY_BYTES, Sealer
from control_plane.settings import Settings
from db.session import Database

#: Octets; nothing that an operator says is long.
_MAX_BODY = 65_536


def make_operators_app(settings: Settings) -> FastAPI:
    """Return the application; it connects to nothing before it is started."""
    parts = OperatorParts(
        database=Database(settings.system_database_url.get_secret_value()),
        clock=utc_now,
        clock_tolerance_seconds=settings.clock_tolerance_seconds,
        sealing_key_file=settings.sealing_key_file,
        rules=RuleFiles.of(settings),
        metrics_targets=settings.metrics_targets,
    )
    resources = [
        resource.router
        for resource in (
            *(
                queue,
                pauses,
                dead_letters,
                fleet,
                fleet_health,
                alerts,
                alerting,
                orphans,
                acts,
                prometheus,
                upgrades,
                fleet_settings,
                fleet_packages,
                server_commands,
                tenants,
                mail_backups,
            ),
        )
    ]
    link_versions(resources)
    for route, scopes in scopes_named(resources):
        route.openapi_extra = {**(route.openapi_extra or {}), "x-scope": " or ".join(sorted(scopes))}
    app = make_door(
        "PenguinMails operators",
        "/operator/v1",
        resources,
        parts.database,
        # Of this process alone, which has no sealing key: its lists begin again when it does.
        Cursors(Sealer(os.urandom(KEY_BYTES))),
        max_body=_MAX_BODY,
        settings=settings,
    )
    app.state.parts = parts
    return app
