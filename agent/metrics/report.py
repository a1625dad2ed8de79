"""Puts the samples of all collectors into one health report, again and again, and soon after something changed."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from agent.metrics.certificate_issue import CertificateIssueFile
from agent.metrics.certificates import CertificateWatch
from agent.metrics.deliveries import Deliveries
from agent.metrics.disk import read_disks
from agent.metrics.disk_forecast import DiskForecast
from agent.metrics.due import Due
from agent.metrics.host import Processors, read_host, read_network, read_own_memory
from agent.metrics.postfix_queue import read_postfix_queue, with_corrupt
from agent.metrics.status_file import StatusFile
from agent.metrics.unit_changes import UnitChanges
from agent.metrics.units import is_postfix_running, read_units
from protos.agent.v1.configuration_pb2 import ConfigurationDrift
from protos.agent.v1.telemetry_pb2 import (
    AgentUpgrade,
    HealthReport,
    Logins,
    MailBackupStatus,
    PackageUpdates,
    PostfixQueue,
    QueuedDomain,
    Relay,
    SigningTest,
)

#: A listing of the queue is followed by a rest of so many times its own duration: a long queue is costly to list.
QUEUE_REST = 100.0
#: Seconds between looks for what makes a report due.
LOOK = 0.5


class Reporter:
    """Publishes a report every `interval()` seconds, when a unit was started or stopped, and on certificate news."""

    def __init__(
        self,
        publish: Callable[[HealthReport], None],
        *,
        interval: Callable[[], float],
        relay: Callable[[], Awaitable[Relay]],
        certificates: CertificateWatch,
        certificate_issue: CertificateIssueFile,
        upgrade: StatusFile[AgentUpgrade],
        package_change: StatusFile[AgentUpgrade],
        mail_backup: StatusFile[MailBackupStatus],
        deliveries: Deliveries,
        drift: Callable[[], ConfigurationDrift | None],
        logins: Callable[[], Logins | None],
        corrupt: Callable[[], int | None],
        signing_test: Callable[[], SigningTest | None],
        package_updates: Callable[[], PackageUpdates | None],
        agent_version: str,
    ) -> None:
        self._publish = publish
        self._interval = interval
        self._relay = relay
        self._certificates = certificates
        self._certificate_issue = certificate_issue
        self._upgrade = upgrade
        self._package_change = package_change
        self._mail_backup = mail_backup
        self._deliveries = deliveries
        self._drift = drift
        self._logins = logins
        self._corrupt = corrupt
        self._signing_test = signing_test
        self._package_updates = package_updates
        self._agent_version = agent_version
        self._processors = Processors()
        self._disk_forecast = DiskForecast()
        self._queue: PostfixQueue | None = None
        self._queued_domains: list[QueuedDomain] = []
        self._queue_due = 0.0

    async def run(self) -> None:
        """Report for ever."""
        due, changes = Due(), UnitChanges()
        while True:
            if changes.seen():
                due.changed(time.monotonic())
            if self._certificate_issue.seen_change():
                self._certificates.look_again(self._certificate_issue.web_name)
                due.changed(time.monotonic())
            # All are looked at, so that what changed together is told together.
            told = [each.seen_change() for each in (self._upgrade, self._package_change, self._mail_backup)]
            if any(told):
                due.changed(time.monotonic())
            if due.is_due(time.monotonic()):
                started = time.monotonic()
                self._publish(await self._collect())
                due.reported(started, self._interval())
            await asyncio.sleep(LOOK)

    async def _collect(self) -> HealthReport:
        units = await read_units()
        await self._look_at_queue(running=is_postfix_running(units))
        return HealthReport(
            at_ms=time.time_ns() // 1_000_000,
            agent_version=self._agent_version,
            host=read_host(self._processors),
            disks=self._disk_forecast.told(read_disks(), time.monotonic()),
            postfix_queue=with_corrupt(self._queue, self._corrupt()),
            units=units,
            certificates=self._certificates.served,
            relay=await self._relay(),
            configuration_drift=self._drift(),
            logins=self._logins(),
            signing_test=self._signing_test(),
            certificate_issue=self._certificate_issue.issue,
            agent_upgrade=self._upgrade.told,
            package_change=self._package_change.told,
            package_updates=self._package_updates(),
            mail_backup=self._mail_backup.told,
            network=read_network(),
            agent_rss_bytes=read_own_memory(),
            destinations=self._deliveries.result(),
            counting_since_ms=self._deliveries.since_ms,
            queued_domains=self._queued_domains,
        )

    async def _look_at_queue(self, *, running: bool) -> None:
        if not running:
            self._queue, self._queued_domains = None, []
            return
        started = time.monotonic()
        if started < self._queue_due:
            return
        listed = await read_postfix_queue()
        self._queue, self._queued_domains = listed or (None, [])
        ended = time.monotonic()
        self._queue_due = ended + QUEUE_REST * (ended - started)
