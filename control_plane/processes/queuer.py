"""The queuer's process: `python -m control_plane.processes.queuer`.

Connects the queuer to PostgreSQL, as the system role, and to Redis. Speaks to nobody else and listens nowhere. SIGTERM
and SIGINT end it after the round in hand; when it is killed, what it leased and did not write is found by the next one.
Any number may run side by side. Redis may be away when it starts; PostgreSQL may not, since its role is checked first.
"""

import asyncio
import signal

from control_plane.processes.readiness import say_ready
from control_plane.queuer.queuer import Limits, Queuer
from control_plane.queuer.streams import connect
from control_plane.settings import Settings
from control_plane.telemetry.exposition import metrics_door
from control_plane.telemetry.traces import tracing
from db.session import Database
from log_lines.lines import start_logging


async def serve(settings: Settings) -> None:
    """Run one queuer until a signal ends it. Raises `UnsafeRole` for a database role that could see past policies."""
    database = Database(settings.system_database_url.get_secret_value())
    redis = connect(settings.redis_url.get_secret_value())
    limits = Limits(
        settings.lease_seconds,
        settings.lease_tolerance_seconds,
        settings.stream_depth,
        settings.clock_tolerance_seconds,
        settings.stream_bytes,
    )
    queuer = Queuer(database, redis, limits)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, queuer.stop)
    try:
        await database.refuse_unsafe_role()
        async with (
            metrics_door(settings.metrics_listen, {"system": database.engine}),
            tracing(settings.otlp_endpoint, settings.otlp_share, "queuer"),
        ):
            say_ready()
            await queuer.run()
    finally:
        await redis.aclose()
        await database.close()


def main() -> None:
    """Run the process."""
    settings = Settings.model_validate({})
    start_logging(settings.log)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
