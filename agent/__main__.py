"""penguin-agent: makes this server part of a fleet.

Keeps the link to the control plane, takes envelopes from the queue and hands them to Postfix, follows the mail log,
hands desired configurations to the root half, and reports the server's health. Run by systemd as penguin-agent.service
under a user of its own; the root half is penguin-configure.service.

SECURITY: opens no port. Holds the server's private key, the queue's password and the DKIM keys of the applied
configuration, in /var/lib/penguin-agent (0700). Whoever takes it over can send mail as this server's domains and read
its mail log, and has no way to root but the desired states that the root half checks and renders itself.

DIAGNOSTICS: a JSON object a line on standard error (journalctl -o cat -u penguin-agent); what is wrong now stands in
`systemctl status penguin-agent`. Exit status 77: the control plane refuses this server; 78: it is not enrolled and has
no join token (systemd restarts neither); 1: a task failed, and systemd starts the agent again.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from agent.commands.commands import Commands, Deed
from agent.commands.log_size import LogSize
from agent.commands.mail_log import ReadMailLog
from agent.commands.probe_port import ProbePort
from agent.commands.root_deeds import ROOT_DEEDS, RootDeed
from agent.configuration.ask_opendkim import signed_by_opendkim
from agent.configuration.asking import look_for_ever
from agent.configuration.configurator import Configurator
from agent.configuration.drift import DriftWatch
from agent.configuration.mail_look import MailLook
from agent.health import problems
from agent.identity.own_log import start_own_log
from agent.journal import Journal, JournalError, JournalUnavailable
from agent.maillog.follow import MailLog
from agent.metrics.agent_upgrade import agent_upgrade
from agent.metrics.backlog import Backlog
from agent.metrics.certificate_issue import CertificateIssueFile
from agent.metrics.certificates import CertificateWatch
from agent.metrics.deliveries import CountingJournal, Deliveries
from agent.metrics.exposition import MetricsDoor
from agent.metrics.mail_backup import mail_backup
from agent.metrics.package_updates import UpdateWatch
from agent.metrics.postfix_queue import queued_among
from agent.metrics.report import Reporter
from agent.metrics.status_file import StatusFile
from agent.relay.relay import Relay
from agent.relay.self_test import SigningSelfTest
from agent.settings import Settings
from agent.supervisor import StopForGood, Supervisor, TaskFailed
from agent.systemd import keep_watchdog, notify
from agent.uplink.link import Uplink
from protos.agent.v1.link_pb2 import AgentMessage
from protos.agent.v1.telemetry_pb2 import HealthReport
from protos.agent.v1.telemetry_pb2 import Relay as RelayHealth

logger = logging.getLogger("agent")

_USAGE = """\
penguin-agent [selfcheck | --version | --help]

Makes this server part of a fleet: without a command it runs the agent, as systemd does; selfcheck checks that this
release can run on this server, and ends. Log: journalctl -u penguin-agent. State: systemctl status penguin-agent."""
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """Read the command line, run, and return the exit status."""
    command = _parse_command()
    if command == "selfcheck":
        os.execv(sys.executable, [sys.executable, "-m", "agent.units.selfcheck"])  # noqa: S606 - needs no shell
    settings = Settings()
    start_own_log(settings.identity_dir)
    try:
        asyncio.run(run(settings, agent_version()))
    except StopForGood as stop:
        return stop.exit_status
    except TaskFailed:
        return 1
    return 0


def agent_version() -> str:
    """Return the release's name, which is that of its environment's folder: version and beginning of the hash."""
    return Path(sys.prefix).name


async def run(settings: Settings, version: str) -> None:
    """Wire the parts together and run them until SIGTERM. Raises `StopForGood` or `TaskFailed`."""
    supervisor = Supervisor()
    journal = CountingJournal.open(settings.state_dir / "journal.sqlite3")
    journal.deliveries = deliveries = Deliveries()
    uplink = Uplink(settings, journal, version)
    configurator = Configurator(
        uplink.desired_state, uplink.send, settings.state_dir, settings.configure_socket, release=version
    )
    relay = Relay(
        journal, uplink.queue_access, configurator.applied, uplink.request_queue_access, queued_among=queued_among
    )
    deeds: dict[str, Deed] = dict.fromkeys(ROOT_DEEDS, RootDeed(settings.configure_socket))
    deeds["read_mail_log"] = ReadMailLog(settings.mail_log)
    deeds["probe_port"] = ProbePort()
    commands = Commands(uplink.commands, uplink.send, deeds)
    certificates = CertificateWatch()
    drift = DriftWatch(configurator, settings.configure_socket)
    mail_look = MailLook(settings.configure_socket)
    opendkim = partial(signed_by_opendkim, settings.configure_socket)
    signing_test = SigningSelfTest(configurator.applied, relay.keys, opendkim)
    updates = UpdateWatch()
    metrics_door = MetricsDoor(settings.metrics_address, lambda: uplink.connected)
    reporter = Reporter(
        partial(_publish, uplink, Backlog(), metrics_door),
        interval=lambda: uplink.report_interval,
        relay=partial(_relay_health, journal, relay),
        certificates=certificates,
        drift=lambda: drift.seen,
        logins=lambda: mail_look.logins,
        corrupt=lambda: mail_look.corrupt,
        signing_test=lambda: signing_test.told,
        package_updates=lambda: updates.told,
        certificate_issue=CertificateIssueFile(settings.certificate_status),
        upgrade=StatusFile(settings.upgrade_dir / "status.json", agent_upgrade),
        package_change=StatusFile(settings.packages_dir / "status.json", agent_upgrade),
        mail_backup=StatusFile(settings.backup_status, mail_backup),
        deliveries=deliveries,
        agent_version=version,
    )
    supervisor.add("watchdog", partial(keep_watchdog, uplink.first_tried))
    supervisor.add("uplink", partial(uplink.run, lambda: configurator.applied_version))
    supervisor.add("configuration", configurator.run)
    supervisor.add("drift", drift.run)
    supervisor.add("mail look", mail_look.run)
    supervisor.add("signing test", partial(look_for_ever, signing_test.look))
    supervisor.add("log size", LogSize(settings.mail_log, deeds["rotate_mail_log"]).run)
    supervisor.add("commands", commands.run)
    supervisor.add("maillog", MailLog(journal, settings.mail_log).run)
    supervisor.add("relay", relay.run)
    supervisor.add("certificates", certificates.run)
    supervisor.add("package updates", updates.run)
    supervisor.add("metrics door", metrics_door.run)
    supervisor.add("metrics", partial(_report, reporter, uplink.first_tried))
    logger.info("starting version=%s", version)
    try:
        with _stopped_by_signals(supervisor):
            await supervisor.run()
        with contextlib.suppress(JournalError):
            await journal.note_stop()
    finally:
        notify("STOPPING=1")
        journal.close()
        logger.info("stopped")


def _parse_command() -> str | None:
    """Return the command; argparse would stay in memory for as long as the agent runs, a third of a MiB."""
    match sys.argv[1:]:
        case []:
            return None
        case ["selfcheck"]:
            return "selfcheck"
        case ["--version"]:
            print(agent_version())
            sys.exit(0)
        case words:
            print(_USAGE)
            sys.exit(0 if words == ["--help"] else 2)


@contextlib.contextmanager
def _stopped_by_signals(supervisor: Supervisor) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, supervisor.stop)
    try:
        yield
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


async def _report(reporter: Reporter, first_tried: asyncio.Event) -> None:
    """Begin when the link's state is known, for it is part of what is shown."""
    await first_tried.wait()
    await reporter.run()


async def _relay_health(journal: Journal, relay: Relay) -> RelayHealth:
    health = RelayHealth(
        redis_connected=relay.redis_connected,
        handed_over=relay.hand_overs.taken,
        refused=relay.hand_overs.refused,
    )
    try:
        counts = await journal.counts()
    except JournalUnavailable as error:
        health.journal_fault = str(error)
        return health
    health.in_hand = counts.in_hand
    health.in_postfix = counts.in_postfix
    health.spooled_events = counts.spooled_events
    health.malformed_envelopes = counts.malformed_envelopes
    health.malformed_log_lines = counts.malformed_log_lines
    health.journal_fault = journal.fault
    return health


def _publish(uplink: Uplink, backlog: Backlog, door: MetricsDoor, report: HealthReport) -> None:
    door.show(report)
    backlog.add_to(report, connected=uplink.connected)
    uplink.send(AgentMessage(health=report))
    link = "link up" if uplink.connected else "link down"
    notify(f"STATUS={link}; {', '.join(problems(report)) or 'all well'}")


if __name__ == "__main__":
    sys.exit(main())
