"""The hub's process, the agents' door: `python -m control_plane.processes.hub`.

Listens at `enrol_listen` (server TLS) and `link_listen` (mutual TLS), with certificates for the two endpoints that it
has the platform's authority issue at start and renew. Several hubs may run, each where it listens alone; an agent is
linked to one of them at a time.

SECURITY: reached by every server, and on the enrolment port by whoever can reach that. It uses the system database
role, opens sealed keys to send them to the servers that need them, and logs no message's content.

SIGTERM and SIGINT end the links, which agents open again elsewhere, and then the process. At start PostgreSQL must be
there; later it and Redis may go away, and the links stay.
"""

import asyncio
import logging
import signal
import socket
import uuid
from collections.abc import Callable
from functools import partial

from control_plane.enrolment.authority import Authority
from control_plane.fleet.commands import COMMANDS_CHANNEL
from control_plane.fleet.hearing import beat, keep_beating
from control_plane.fleet.links import LINKS_CHANNEL, clear_links
from control_plane.hub.batches import Batches
from control_plane.hub.certificate import PortCertificate
from control_plane.hub.conversation import Resources
from control_plane.hub.door import Door
from control_plane.hub.enrolment import EnrolmentService
from control_plane.hub.link import LinkService
from control_plane.hub.returning import Returning
from control_plane.hub.server import enrolment_server, link_server
from control_plane.hub.sessions import Sessions
from control_plane.hub.together import Together
from control_plane.monitoring.remote_write import RemoteWrite
from control_plane.processes.readiness import say_ready
from control_plane.providers.base import ACME_PORT_PROVIDERS
from control_plane.queuer.access import grant
from control_plane.queuer.streams import connect
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from control_plane.telemetry.exposition import metrics_door
from control_plane.telemetry.traces import tracing
from db.notifications import listen
from db.session import Database
from log_lines.lines import start_logging
from protos.agent.v1.configuration_pb2 import CertificateAuthority
from protos.agent.v1.enrolment_pb2_grpc import add_EnrolmentServicer_to_server
from protos.agent.v1.link_pb2 import QueueAccess
from protos.agent.v1.link_pb2_grpc import add_LinkServicer_to_server

#: Notified with a server's id when what it should be, or whether it may connect, has changed.
CHANNEL = "desired_state"
#: Seconds for calls that are being answered when the hub is told to end.
_GRACE_SECONDS = 5.0
#: From one round trip of queue access to the next.
_GRANTS_SPACING = 0.02

_log = logging.getLogger(__name__)


async def serve(settings: Settings, serving: Callable[[], object], stopped: asyncio.Event) -> None:
    """Serve until `stopped` is set; call `serving` when both ports are open.

    Raises `UnsafeRole` for a database role that could see past policies.
    """
    database = Database(settings.system_database_url.get_secret_value(), pool_size=20)
    redis = connect(settings.redis_url.get_secret_value())
    try:
        await database.refuse_unsafe_role()
        sealer = Sealer.of_file(settings.sealing_key_file)
        async with database.system() as session:
            authority = await Authority.load_or_create(session, sealer, settings.trust_domain)
        remote = RemoteWrite(database, settings.remote_write_url.get_secret_value())
        granting = partial(grant, redis, endpoint=settings.redis_agent_endpoint, ca_pem=authority.certificate_pem)
        grants: Together[uuid.UUID, QueueAccess] = Together(granting, _GRANTS_SPACING)
        resources = Resources(
            database=database,
            batches=Batches(database, remote.offer),
            returning=Returning(),
            sealer=sealer,
            grant_queue_access=grants.serve,
            nameservers=settings.nameservers,
            report_interval_seconds=settings.report_interval_seconds,
            authority=certificate_authority(settings),
            acme_port_providers=ACME_PORT_PROVIDERS,
        )
        async with (
            remote.sending(),
            metrics_door(settings.metrics_listen, {"system": database.engine}),
            tracing(settings.otlp_endpoint, settings.otlp_share, "hub"),
        ):
            await _serve_agents(settings, resources, authority, serving, stopped)
    finally:
        await redis.aclose()
        await database.close()


def certificate_authority(settings: Settings) -> CertificateAuthority | None:
    """Return who issues servers' certificates by the settings; raise `OSError` when its roots cannot be read."""
    if not settings.acme_directory:
        _log.info("PENGUIN_ACME_DIRECTORY is not set: servers show certificates that they have signed themselves")
        return None
    return CertificateAuthority(
        directory_url=settings.acme_directory,
        account_email=settings.acme_email,
        roots_pem=settings.acme_roots_file.read_bytes() if settings.acme_roots_file else b"",
        by_dns=settings.acme_challenge == "dns-01",
    )


async def _serve_agents(
    settings: Settings,
    resources: Resources,
    authority: Authority,
    serving: Callable[[], object],
    stopped: asyncio.Event,
) -> None:
    sessions = Sessions()
    hub = uuid.uuid5(uuid.NAMESPACE_URL, f"penguin://{socket.gethostname()}/{settings.link_listen}")
    async with resources.database.system() as session:
        await clear_links(session, hub)
        await beat(session, hub, anew=True)
    await resources.returning.look(resources.database)

    door = Door(resources.batches)
    enrol_certificate = PortCertificate(authority, settings.enrol_endpoint)
    link_certificate = PortCertificate(authority, settings.link_endpoint)
    enrolment = enrolment_server(door, settings.enrol_listen, enrol_certificate.current)
    link = link_server(door, settings.link_listen, link_certificate.current)
    add_EnrolmentServicer_to_server(EnrolmentService(resources.database, authority, settings.link_endpoint), enrolment)
    add_LinkServicer_to_server(LinkService(resources, authority, sessions, hub), link)

    async with asyncio.TaskGroup() as group:
        beside = [
            group.create_task(enrol_certificate.keep_fresh()),
            group.create_task(link_certificate.keep_fresh()),
            group.create_task(keep_beating(resources.database, hub)),
            group.create_task(resources.returning.keep_looking(resources.database)),
            group.create_task(listen(resources.database, (CHANNEL,), sessions.look_again)),
            group.create_task(listen(resources.database, (COMMANDS_CHANNEL,), sessions.commands_waiting)),
            group.create_task(listen(resources.database, (LINKS_CHANNEL,), sessions.opened)),
        ]
        await enrolment.start()
        await link.start()
        serving()
        try:
            await stopped.wait()
        finally:
            sessions.end_all()
            await asyncio.gather(enrolment.stop(_GRACE_SECONDS), link.stop(_GRACE_SECONDS))
            await sessions.all_ended()
        for task in beside:
            task.cancel()


async def _run(settings: Settings) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await serve(settings, say_ready, stopped)


def main() -> None:
    """Run the process."""
    settings = Settings.model_validate({})
    start_logging(settings.log)
    asyncio.run(_run(settings))


if __name__ == "__main__":
    main()
