"""The submission process: takes mail by SMTP from programs that speak nothing else.

`python -m control_plane.processes.submission`, with settings from PENGUIN_* and listening sockets as inherited file
descriptors in PENGUIN_SUBMISSION_FDS: the first for STARTTLS (port 587), a second, if there is one, for TLS from the
start (port 465). Its certificate is `submission_certificate_file`, read at the start: restart it for a new one.

It connects to PostgreSQL as the role penguin_api, to Redis for the limits, and exits at once with another role. Any
number of these may run side by side. SIGTERM closes the doors and every connection: what was answered with 250 is
committed, and what was not is sent again by its client and known by its Message-ID.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
from functools import partial

from control_plane.clock import utc_now
from control_plane.errors import InvalidInput
from control_plane.processes.readiness import say_ready
from control_plane.processes.rest_server import inherited_sockets
from control_plane.rest.rate_limiter import RateLimiter
from control_plane.settings import Settings
from control_plane.submission.door import SubmissionDoor, protocol
from control_plane.submission.log_in import LogIns
from control_plane.submission.submissions import Submissions
from control_plane.telemetry.exposition import metrics_door
from control_plane.telemetry.traces import tracing
from db.session import Database
from log_lines.lines import start_logging

#: Connections to PostgreSQL of one process: as many messages are accepted at once.
_POOL_SIZE = 10


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Return the server's context: TLS 1.2 and later, for programs are older than servers."""
    if settings.submission_certificate_file is None or settings.submission_key_file is None:
        raise InvalidInput("submission needs submission_certificate_file and submission_key_file")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings.submission_certificate_file, settings.submission_key_file)
    return context


async def serve(settings: Settings, sockets: list[socket.socket]) -> None:
    """Serve until a signal ends it."""
    tls = tls_context(settings)
    database = Database(settings.api_database_url.get_secret_value(), pool_size=_POOL_SIZE)
    limiter = RateLimiter(settings.redis_url.get_secret_value())
    door = SubmissionDoor(LogIns(database, limiter, utc_now, {}), Submissions(database, limiter, utc_now))
    stopping = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopping.set)
    sharing = asyncio.create_task(limiter.run())
    try:
        await database.refuse_unsafe_role()
        async with contextlib.AsyncExitStack() as open_doors:
            await open_doors.enter_async_context(metrics_door(settings.metrics_listen, {"door": database.engine}))
            await open_doors.enter_async_context(tracing(settings.otlp_endpoint, settings.otlp_share, "submission"))
            for listener, from_start in zip(sockets, (False, True), strict=False):
                server = await _listen(door, settings.submission_hostname, tls, listener, from_start=from_start)
                open_doors.callback(server.close)
            say_ready()
            await stopping.wait()
    finally:
        sharing.cancel()
        await limiter.close()
        await database.close()


async def _listen(
    door: SubmissionDoor, hostname: str, tls: ssl.SSLContext, listener: socket.socket, *, from_start: bool
) -> asyncio.Server:
    speaking = partial(protocol, door, hostname, tls, from_start=from_start)
    return await asyncio.get_running_loop().create_server(speaking, sock=listener, ssl=tls if from_start else None)


def main() -> None:
    """Serve until told to end."""
    settings = Settings.model_validate({})
    start_logging(settings.log)
    # The library writes down who sends to whom.
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    os.umask(0o077)
    asyncio.run(serve(settings, inherited_sockets(os.environ["PENGUIN_SUBMISSION_FDS"])))


if __name__ == "__main__":
    main()
