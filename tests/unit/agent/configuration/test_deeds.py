from collections.abc import Sequence

import pytest

from agent.configuration.deeds import perform
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
