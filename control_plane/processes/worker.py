"""The worker process: provisions servers and inboxes, and does what runs by the clock.

`python -m control_plane.processes.worker`, with settings from PENGUIN_*. It connects to PostgreSQL as the system role
and speaks to providers, DNS hosts, name servers, tenants' webhooks and, to verify them, to new mail servers. It listens
nowhere. Any number of these may run side by side: runs are claimed step by step (pipelines/claims.py), and deliveries
one by one (webhooks/claim.sql).

SIGTERM ends it within seconds: steps in hand are given back and taken up by the next worker. When it is killed, they
are taken up once their claims have run out. So they are when it stands still, also in the middle of a transaction:
PostgreSQL ends that before claims run out.
"""

import asyncio
import contextlib
import logging
import signal
from functools import partial

from control_plane.alerts.installation import add_installation_job
from control_plane.alerts.notices import write_notices
from control_plane.alerts.teller import Teller
from control_plane.backups.mailboxes import add_mailbox_jobs
from control_plane.data_keys.rotation import add_key_jobs
from control_plane.dns.publishers.choice import make_publisher
from control_plane.healing.heal import add_healing_jobs
from control_plane.healing.rules import read_rules as read_healing_rules
from control_plane.monitoring.alert_rules import read_rules
from control_plane.monitoring.states import Check
from control_plane.monitoring.watch import watch_for_ever
from control_plane.pipelines.dispatch import dispatch
from control_plane.pipelines.jobs import (
    CONCURRENCY,
    HEARTBEAT_SECONDS,
    IDLE_SECONDS,
    POLL_SECONDS,
    STALLED_SECONDS,
    add_pipelines,
    count_job,
    make_app,
)
from control_plane.pipelines.worker import Worker
from control_plane.privacy.end_of_tenant import add_tenant_jobs
from control_plane.privacy.erase import add_privacy_jobs
from control_plane.privacy.retention import add_retention_jobs
from control_plane.processes.readiness import say_ready
from control_plane.providers.registry import build_providers
from control_plane.provisioning.environment import Environment
from control_plane.provisioning.kinds import pipelines
from control_plane.provisioning.periodic import add_periodic_jobs
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from control_plane.telemetry.exposition import metrics_door
from control_plane.upgrades.advance import add_upgrade_jobs
from control_plane.webhooks.attempt import Poster
from control_plane.webhooks.deliverer import Deliverer
from control_plane.webhooks.forget import add_webhook_jobs
from control_plane.webhooks.own_servers import knows_servers
from db.session import Database, with_idle_limit
from log_lines.lines import start_logging

#: Loggers of libraries that tell each thing they do; what became of it, our own lines say.
_TALKATIVE = ("procrastinate", "PowerDnsProvider[powerdns]", "CloudflareProvider[cloudflare]", "Record")


class WorkerStopped(Exception):
    """The job runner ended by itself; the reason is in the log before this."""


def make_environment(settings: Settings, database: Database) -> Environment:
    """Return the doors to the world that the settings describe."""
    return Environment(
        database=database,
        providers=build_providers(settings, database),
        publisher=make_publisher(settings),
        settings=settings,
        sealer=Sealer.of_file(settings.sealing_key_file),
    )


async def serve(settings: Settings) -> None:
    """Work until a signal ends it. Raises `UnsafeRole` for a database role that could see past policies."""
    working = asyncio.ensure_future(_work(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, working.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await working


async def _work(settings: Settings) -> None:
    url = with_idle_limit(settings.system_database_url.get_secret_value(), IDLE_SECONDS)
    database = Database(url)
    environment = make_environment(settings, database)
    rules = read_rules(settings.alert_rules_file)
    app = make_app(url)
    add_pipelines(app, Worker(database, pipelines(environment)))
    add_periodic_jobs(app, environment, rules)
    add_webhook_jobs(app, database)
    add_privacy_jobs(app, database)
    add_retention_jobs(app, database)
    add_tenant_jobs(app, database)
    add_upgrade_jobs(app, database, environment.clock)
    add_healing_jobs(app, database, read_healing_rules(settings.healing_rules_file), environment.clock)
    add_key_jobs(app, database, environment.sealer)
    add_installation_job(app, database, rules, environment.clock)
    add_mailbox_jobs(app, database, environment.clock)
    poster = Poster(private_targets=settings.webhook_private_targets, is_ours=knows_servers(database))
    # Channels are operators', who may have them in private networks.
    alerts_poster = Poster(private_targets=True, is_ours=knows_servers(database))
    outage_rules = [rule.name for rule in rules if rule.check is Check.REACHABLE]
    try:
        await database.refuse_unsafe_role()
        async with (
            metrics_door(settings.metrics_listen, {"system": database.engine}),
            app.open_async(),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(dispatch(database, app))
            tasks.create_task(watch_for_ever(database, rules, environment.clock, partial(write_notices, outage_rules)))
            tasks.create_task(Teller(database, environment.sealer, alerts_poster).tell_for_ever())
            tasks.create_task(Deliverer(database, environment.sealer, poster).deliver_for_ever())
            say_ready()
            await app.run_worker_async(
                concurrency=CONCURRENCY,
                install_signal_handlers=False,
                shutdown_graceful_timeout=0,
                fetch_job_polling_interval=POLL_SECONDS,
                delete_jobs="successful",
                update_heartbeat_interval=HEARTBEAT_SECONDS,
                stalled_worker_timeout=STALLED_SECONDS,
                worker_middleware=[count_job],
            )
            raise WorkerStopped("the job runner ended")
    finally:
        await poster.aclose()
        await alerts_poster.aclose()
        await database.close()


def main() -> None:
    """Run the process."""
    settings = Settings.model_validate({})
    start_logging(settings.log)
    for talkative in _TALKATIVE:
        logging.getLogger(talkative).setLevel(logging.ERROR)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
