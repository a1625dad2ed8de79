"""Jobs that run by the clock, one of each at a time over all workers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from procrastinate import App
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.dns.pending import generate_missing, verify_due
from control_plane.fleet.commands import settle_commands
from control_plane.inboxes.dkim_rotation import domains_due, request_rotation
from control_plane.inboxes.kept_domains import forget_deleted_domains
from control_plane.messages.forget_keys import forget_old_keys
from control_plane.monitoring.alert_rules import Rule
from control_plane.monitoring.alerts import advance_alerts
from control_plane.monitoring.health_check import check_health
from control_plane.people.signing_keys import rotate_when_due
from control_plane.pipelines.jobs import UPKEEP_QUEUE
from control_plane.pools.reputation import count_reputation
from control_plane.providers.base import Provider
from control_plane.provisioning.acme_challenges import look_after_challenges
from control_plane.provisioning.acme_ports import look_after_ports
from control_plane.provisioning.environment import Environment
from control_plane.provisioning.ipv6_looks import look_at_ipv6
from control_plane.provisioning.later_looks import look_again
from control_plane.provisioning.policy_looks import look_at_policies
from control_plane.provisioning.strays import look_after_strays
from db.session import Database

#: Of its own, so that slow name servers do not hold up pipelines.
DNS_QUEUE = "dns"
#: Likewise for slow providers.
STRAYS_QUEUE = "strays"
PORTS_QUEUE = "ports"
CHALLENGES_QUEUE = "challenges"
#: Likewise for slow servers.
MONITORING_QUEUE = "monitoring"
POLICIES_QUEUE = "policies"
LOOKS_QUEUE = "looks"

#: As cron(8) has them, seconds last where there are six.
_EVERY_FIVE_SECONDS, _EVERY_QUARTER_OF_A_MINUTE = "* * * * * */5", "* * * * * */15"
_EVERY_MINUTE, _EVERY_FIVE_MINUTES = "* * * * *", "*/5 * * * *"

Deed = Callable[[Environment], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class _Job:
    """When, the task's name, its queue, and what is done."""

    cron: str
    name: str
    queue: str
    do: Deed


def add_periodic_jobs(app: App, environment: Environment, rules: Sequence[Rule]) -> None:
    """Add what DNS, DKIM keys, health with its alerts, providers and the upkeep need."""
    for job in (*_JOBS, _Job(_EVERY_FIVE_MINUTES, "monitoring.health", MONITORING_QUEUE, _by_rules(rules))):
        _add(app, environment, job)


def _add(app: App, environment: Environment, job: _Job) -> None:
    @app.periodic(cron=job.cron)
    @app.task(name=job.name, queue=job.queue, queueing_lock=job.name)
    async def run(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await job.do(environment)


def _on_the_database(work: Callable[[Database], Awaitable[object]]) -> Deed:
    return lambda environment: work(environment.database)


def _in_a_transaction(work: Callable[[AsyncSession], Awaitable[object]]) -> Deed:
    async def do(environment: Environment) -> None:
        async with environment.database.system() as session:
            await work(session)

    return do


def _at_providers(work: Callable[[Database, Mapping[str, Provider]], Awaitable[object]]) -> Deed:
    return lambda environment: work(environment.database, environment.providers)


def _by_rules(rules: Sequence[Rule]) -> Deed:
    """Return what looks at the health of all and advances alerts."""

    async def do(environment: Environment) -> None:
        now = environment.clock()
        checked = await check_health(environment.database, now, environment.settings.clock_tolerance_seconds)
        async with environment.database.system() as session:
            await advance_alerts(session, rules, checked, now)

    return do


async def _rotate_dkim(environment: Environment) -> None:
    before = environment.clock() - timedelta(days=environment.settings.dkim_rotation_days)
    async with environment.database.system() as session:
        for tenant_id, domain_id in await domains_due(session, before):
            await request_rotation(session, tenant_id, domain_id)


async def _verify(environment: Environment) -> None:
    await verify_due(environment.database, environment.settings.nameservers, environment.clock())


async def _look_at_policies(environment: Environment) -> None:
    await look_at_policies(environment.database, environment.settings.mail_roots_file, environment.clock())


async def _rotate_signing_key(environment: Environment) -> None:
    async with environment.database.system() as session:
        await rotate_when_due(session, environment.sealer, environment.clock())


_JOBS = (
    _Job(_EVERY_FIVE_SECONDS, "vps.look_after_challenges", CHALLENGES_QUEUE, look_after_challenges),
    _Job(_EVERY_QUARTER_OF_A_MINUTE, "vps.look_after_strays", STRAYS_QUEUE, _at_providers(look_after_strays)),
    _Job(_EVERY_MINUTE, "vps.look_after_ports", PORTS_QUEUE, _at_providers(look_after_ports)),
    _Job(_EVERY_MINUTE, "fleet.settle_commands", UPKEEP_QUEUE, _in_a_transaction(settle_commands)),
    _Job(_EVERY_FIVE_MINUTES, "messages.forget_old_keys", UPKEEP_QUEUE, _on_the_database(forget_old_keys)),
    _Job(_EVERY_FIVE_MINUTES, "domains.forget_deleted", UPKEEP_QUEUE, _on_the_database(forget_deleted_domains)),
    _Job(_EVERY_FIVE_MINUTES, "pools.count_reputation", UPKEEP_QUEUE, _in_a_transaction(count_reputation)),
    _Job(_EVERY_FIVE_MINUTES, "dns.generate", DNS_QUEUE, _on_the_database(generate_missing)),
    _Job(_EVERY_FIVE_MINUTES, "dns.verify", DNS_QUEUE, _verify),
    _Job(_EVERY_FIVE_MINUTES, "dns.look_at_policies", POLICIES_QUEUE, _look_at_policies),
    _Job(_EVERY_FIVE_MINUTES, "vps.look_again", LOOKS_QUEUE, look_again),
    # Every hour, and not all at once.
    _Job("17 * * * *", "dkim.rotate", DNS_QUEUE, _rotate_dkim),
    _Job("23 * * * *", "dns.look_at_ipv6", DNS_QUEUE, look_at_ipv6),
    _Job("47 * * * *", "people.rotate_signing_key", UPKEEP_QUEUE, _rotate_signing_key),
)
