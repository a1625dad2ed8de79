"""The downloads process: serves the agent's wheelhouse and releases to servers, and greets those who try port 25.

`python -m control_plane.processes.downloads`, with settings from PENGUIN_*. HTTPS, TLS 1.3, at `downloads_listen`.
Its certificate, for `downloads_endpoint`, comes from the platform's authority, which servers pin, and is issued anew at
each start and while it runs. It connects to PostgreSQL for that alone. At `port25_listen` it answers in SMTP and takes
no mail. SIGTERM lets downloads in hand end, then it exits.

SECURITY: whoever reaches the first port may read the wheels, which are no secret, and nothing else. What a server
takes is decided by the hashes in its user-data, not here.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from control_plane.enrolment.authority import SERVER_CERTIFICATE_LIFE, Authority, ServerCertificate
from control_plane.preflight.listener import port_check
from control_plane.processes.readiness import say_ready
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from control_plane.telemetry.exposition import metrics_door
from db.session import Database
from log_lines.lines import start_logging

#: Seconds that downloads in hand get when it ends.
_GRACE_SECONDS = 5


def make_app(wheelhouse: Path, releases: Path) -> Starlette:
    """Return the application: the folders' files, GET and HEAD."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        say_ready()
        yield

    # The first release may be added long after this was started.
    kept = Mount("/releases", StaticFiles(directory=releases, check_dir=False))
    return Starlette(routes=[kept, Mount("/", StaticFiles(directory=wheelhouse))], lifespan=lifespan)


def tls_context(certificate: ServerCertificate) -> ssl.SSLContext:
    """Return a server context, TLS 1.3 only, with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    use_certificate(context, certificate)
    return context


def use_certificate(context: ssl.SSLContext, certificate: ServerCertificate) -> None:
    """Show this certificate from the next handshake on. OpenSSL reads it from files, which are gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        chain, key = Path(folder) / "chain.pem", Path(folder) / "key.pem"
        chain.write_bytes(certificate.certificate_pem)
        key.touch(mode=0o600)
        key.write_bytes(certificate.private_key_pem)
        context.load_cert_chain(chain, key)


async def serve(settings: Settings) -> None:
    """Serve until a signal ends it."""
    host, _, port = settings.downloads_listen.rpartition(":")
    context = tls_context(await _issue(settings))
    config = uvicorn.Config(
        make_app(settings.wheelhouse_dir, settings.releases_dir),
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_context_factory=lambda _config, _default: context,
    )
    renewing = asyncio.create_task(_renew(settings, context))
    try:
        # A server may be installing while this is started again.
        with socket.create_server((host, int(port)), reuse_port=False) as listener:
            async with (
                metrics_door(settings.metrics_listen),
                port_check(settings.port25_listen, f"port25.{settings.platform_domain}"),
            ):
                await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        renewing.cancel()


async def _renew(settings: Settings, context: ssl.SSLContext) -> None:
    while True:
        await asyncio.sleep(SERVER_CERTIFICATE_LIFE.total_seconds() / 2)
        use_certificate(context, await _issue(settings))


async def _issue(settings: Settings) -> ServerCertificate:
    database = Database(settings.system_database_url.get_secret_value())
    sealer = Sealer.of_file(settings.sealing_key_file)
    try:
        async with database.system() as session:
            authority = await Authority.load_or_create(session, sealer, settings.trust_domain)
    finally:
        await database.close()
    return authority.issue_for(settings.downloads_endpoint)


def main() -> None:
    """Run the process."""
    settings = Settings.model_validate({})
    start_logging(settings.log)
    os.umask(0o077)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
