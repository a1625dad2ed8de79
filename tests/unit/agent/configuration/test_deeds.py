import json
from collections.abc import Sequence

import pytest

from agent.configuration.deeds import perform
from mailstack import layout
from mailstack.apply.host import StoredFile
from mailstack.apply.plan import ORDER
from mailstack.checking import CommandOutput
from protos.agent.v1 import commands_pb2 as wire
from tests.fakes.host import FakeHost


class QueueHost(FakeHost):
    """Notes the commands, and finds the messages it has."""

    def __init__(self, *queue_ids: str) -> None:
        super().__init__()
        self.queue_ids = queue_ids
        self.ran: list[list[str]] = []

    def run(self, argv: Sequence[str]) -> CommandOutput:
        self.ran.append(list(argv))
        found = argv[0] == "postsuper" and argv[2] in self.queue_ids
        return CommandOutput(0, "", "postsuper: Placed on hold: 1 message\n" if found else "")


def test_a_restart_takes_the_services_in_order() -> None:
    host = FakeHost()
    result = perform(wire.Command(id=b"id", restart_mail_server=wire.RestartMailServer()), host)
    assert result.outcome == wire.CommandResult.OUTCOME_DONE
    assert result.id == b"id"
    assert host.told == [f"restart {service.value}" for service in ORDER]


def test_a_service_that_does_not_come_up_is_told() -> None:
    host = FakeHost()
    host.broken.add(ORDER[-1])
    result = perform(wire.Command(restart_mail_server=wire.RestartMailServer()), host)
    assert result.outcome == wire.CommandResult.OUTCOME_FAILED
    assert "postfix" in result.detail


def test_a_message_is_held_by_its_queue_id() -> None:
    host = QueueHost("4dZcXH2bvZz3w9")
    result = perform(wire.Command(hold_queued=wire.HoldQueued(queue_id="4dZcXH2bvZz3w9")), host)
    assert (result.outcome, host.ran) == (
        wire.CommandResult.OUTCOME_DONE,
        [["postsuper", "-h", "4dZcXH2bvZz3w9"]],
    )


def test_a_message_that_is_not_there_is_refused() -> None:
    result = perform(wire.Command(release_queued=wire.ReleaseQueued(queue_id="ABCDEF")), QueueHost())
    assert result.outcome == wire.CommandResult.OUTCOME_REFUSED


@pytest.mark.parametrize("queue_id", ["", "ALL", "ALL deferred", "-d", "../ABCDEF", "ABCDEF\n", "ABCDEF;reboot"])
def test_what_is_no_queue_id_reaches_no_command(queue_id: str) -> None:
    host = QueueHost()
    result = perform(wire.Command(delete_queued=wire.DeleteQueued(queue_id=queue_id)), host)
    assert (result.outcome, host.ran) == (wire.CommandResult.OUTCOME_REFUSED, [])


def test_a_deed_of_the_network_half_is_refused_here() -> None:
    result = perform(wire.Command(read_mail_log=wire.ReadMailLog(lines=1)), FakeHost())
    assert result.outcome == wire.CommandResult.OUTCOME_REFUSED


def _asked(host: FakeHost, **asked: bool | float | str) -> wire.CommandResult.Outcome.ValueType:
    command = wire.Command(issue_certificate=wire.IssueCertificate(**asked))  # type: ignore[arg-type]
    return perform(command, host).outcome


def test_what_is_asked_of_the_authority_is_written_down_and_added_to() -> None:
    host = FakeHost()
    host.files[layout.CERTIFICATE_ORDER] = StoredFile(b"{}", "root", "root", 0o644)
    now = host.now().timestamp()
    assert _asked(host, renew=True) == wire.CommandResult.OUTCOME_DONE
    assert _asked(host, port_open_seconds=240) == wire.CommandResult.OUTCOME_DONE
    assert host.commands == ["start --no-block penguin-certificates.service"] * 2
    written = host.files[layout.CERTIFICATE_ASKED]
    assert json.loads(written.content) == {"renew_at": now, "port_at": now, "port_until": now + 240}


@pytest.mark.parametrize("seconds", [-1.0, 601.0, float("inf"), float("nan")])
def test_a_port_is_not_open_for_longer_than_it_is(seconds: float) -> None:
    host = FakeHost()
    host.files[layout.CERTIFICATE_ORDER] = StoredFile(b"{}", "root", "root", 0o644)
    assert _asked(host, port_open_seconds=seconds) == wire.CommandResult.OUTCOME_REFUSED
    assert layout.CERTIFICATE_ASKED not in host.files


def test_a_record_that_can_be_seen_is_written_down_and_nothing_else_is_asked() -> None:
    host = FakeHost()
    host.files[layout.CERTIFICATE_ORDER] = StoredFile(b"{}", "root", "root", 0o644)
    assert _asked(host, challenge_shown="V" * 43) == wire.CommandResult.OUTCOME_DONE
    assert host.files[layout.CERTIFICATE_CHALLENGE_SHOWN].content == b"V" * 43
    assert layout.CERTIFICATE_ASKED not in host.files
    assert host.commands == []


@pytest.mark.parametrize("value", ["V" * 42, "V" * 44, "V" * 42 + "=", "V" * 43 + "\n"])
def test_what_no_authority_looks_for_is_not_written_down(value: str) -> None:
    host = FakeHost()
    host.files[layout.CERTIFICATE_ORDER] = StoredFile(b"{}", "root", "root", 0o644)
    assert _asked(host, challenge_shown=value) == wire.CommandResult.OUTCOME_REFUSED
    assert layout.CERTIFICATE_CHALLENGE_SHOWN not in host.files


def test_without_an_authority_nobody_can_be_asked() -> None:
    host = FakeHost()
    assert _asked(host, renew=True) == wire.CommandResult.OUTCOME_REFUSED
    assert layout.CERTIFICATE_ASKED not in host.files
