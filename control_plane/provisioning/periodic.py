"""Jobs that run by the clock, one of each at a time over all workers."""

from datetime import timedelta

from procrastinate import App

from control_plane.dns.pending import generate_missing, verify_due
from control_plane.fleet.commands import settle_commands
from control_plane.inboxes.dkim_rotation import domains_due, request_rotation
from control_plane.inboxes.kept_domains import forget_deleted_domains
from control_plane.messages.forget_keys import forget_old_keys
from control_plane.monitoring.alert_rules import read_rules
from control_plane.monitoring.alerts import advance_alerts
from control_plane.monitoring.health_check import check_health
from control_plane.people.signing_keys import rotate_when_due
from control_plane.pipelines.jobs import UPKEEP_QUEUE
from control_plane.pools.reputation import count_reputation
from control_plane.provisioning.acme_challenges import look_after_challenges
from control_plane.provisioning.acme_ports import look_after_ports
from control_plane.provisioning.environment import Environment
from control_plane.provisioning.ipv6_looks import look_at_ipv6
from control_plane.provisioning.policy_looks import look_at_policies
from control_plane.provisioning.strays import look_after_strays

#: Of its own, so that slow name servers do not hold up pipelines.
DNS_QUEUE = "dns"
#: Likewise for slow providers.
STRAYS_QUEUE = "strays"
PORTS_QUEUE = "ports"
CHALLENGES_QUEUE = "challenges"
#: Likewise for slow servers.
MONITORING_QUEUE = "monitoring"
POLICIES_QUEUE = "policies"


def add_periodic_jobs(app: App, environment: Environment) -> None:
    """Add what DNS, DKIM keys, health and the upkeep need.

    `monitoring.health`, `dns.generate`, `dns.verify` and `dns.look_at_policies` run every five minutes, `dkim.rotate`,
    `dns.look_at_ipv6` and `people.rotate_signing_key` every hour. Upkeep looks after records for certificates, every
    five seconds, and after strays at the providers, every quarter of a minute, opens and shuts ports for certificates
    and ends overdue commands, every minute, and forgets old idempotency keys and deleted domains and counts reputation,
    every five.
    """
    rules = read_rules()

    _add_looks_at_servers(app, environment)
    _add_jobs_at_providers(app, environment)
    _add_jobs_of_people(app, environment)

    @app.periodic(cron="* * * * *")
    @app.task(name="fleet.settle_commands", queue=UPKEEP_QUEUE, queueing_lock="fleet.settle_commands")
    async def commands_settled(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        async with environment.database.system() as session:
            await settle_commands(session)

    @app.periodic(cron="*/5 * * * *")
    @app.task(name="messages.forget_old_keys", queue=UPKEEP_QUEUE, queueing_lock="messages.forget_old_keys")
    async def keys_forgotten(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await forget_old_keys(environment.database)

    @app.periodic(cron="*/5 * * * *")
    @app.task(name="domains.forget_deleted", queue=UPKEEP_QUEUE, queueing_lock="domains.forget_deleted")
    async def domains_forgotten(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await forget_deleted_domains(environment.database)

    @app.periodic(cron="*/5 * * * *")
    @app.task(name="pools.count_reputation", queue=UPKEEP_QUEUE, queueing_lock="pools.count_reputation")
    async def reputation_counted(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        async with environment.database.system() as session:
            await count_reputation(session)

    @app.periodic(cron="*/5 * * * *")
    @app.task(name="dns.generate", queue=DNS_QUEUE, queueing_lock="dns.generate")
    async def dns_generate(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await generate_missing(environment.database)

    @app.periodic(cron="*/5 * * * *")
    @app.task(name="monitoring.health", queue=MONITORING_QUEUE, queueing_lock="monitoring.health")
    async def health_checked(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        now = environment.clock()
        checked = await check_health(environment.database, now, environment.settings.clock_tolerance_seconds)
        async with environment.database.system() as session:
            await advance_alerts(session, rules, checked, now)

    @app.periodic(cron="17 * * * *")
    @app.task(name="dkim.rotate", queue=DNS_QUEUE, queueing_lock="dkim.rotate")
    async def dkim_rotate(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        before = environment.clock() - timedelta(days=environment.settings.dkim_rotation_days)
        async with environment.database.system() as session:
            for tenant_id, domain_id in await domains_due(session, before):
                await request_rotation(session, tenant_id, domain_id)

    @app.periodic(cron="*/5 * * * *")
    @app.task(name="dns.verify", queue=DNS_QUEUE, queueing_lock="dns.verify")
    async def dns_verify(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await verify_due(environment.database, environment.settings.nameservers, environment.clock())


def _add_looks_at_servers(app: App, environment: Environment) -> None:
    @app.periodic(cron="*/5 * * * *")
    @app.task(name="dns.look_at_policies", queue=POLICIES_QUEUE, queueing_lock="dns.look_at_policies")
    async def policies_looked_at(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await look_at_policies(environment.database, environment.settings.mail_roots_file, environment.clock())

    @app.periodic(cron="23 * * * *")
    @app.task(name="dns.look_at_ipv6", queue=DNS_QUEUE, queueing_lock="dns.look_at_ipv6")
    async def ipv6_looked_at(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await look_at_ipv6(environment)


def _add_jobs_at_providers(app: App, environment: Environment) -> None:
    @app.periodic(cron="* * * * * */15")
    @app.task(name="vps.look_after_strays", queue=STRAYS_QUEUE, queueing_lock="vps.look_after_strays")
    async def strays_looked_after(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await look_after_strays(environment.database, environment.providers)

    @app.periodic(cron="* * * * *")
    @app.task(name="vps.look_after_ports", queue=PORTS_QUEUE, queueing_lock="vps.look_after_ports")
    async def ports_looked_after(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await look_after_ports(environment.database, environment.providers)

    @app.periodic(cron="* * * * * */5")
    @app.task(name="vps.look_after_challenges", queue=CHALLENGES_QUEUE, queueing_lock="vps.look_after_challenges")
    async def challenges_looked_after(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await look_after_challenges(environment)


def _add_jobs_of_people(app: App, environment: Environment) -> None:
    @app.periodic(cron="47 * * * *")
    @app.task(name="people.rotate_signing_key", queue=UPKEEP_QUEUE, queueing_lock="people.rotate_signing_key")
    async def signing_key_rotated(timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        async with environment.database.system() as session:
            await rotate_when_due(session, environment.sealer, environment.clock())
