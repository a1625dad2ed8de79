"""Room on a full disk, and a server's look at itself."""

import json
from collections.abc import Sequence

from agent.configuration.deeds import perform
from mailstack import layout
from mailstack.apply.host import StoredFile
from mailstack.apply.plan import ORDER
from mailstack.checking import CommandOutput
from protos.agent.v1 import commands_pb2 as wire
from tests.fakes.host import FakeHost

DONE, FAILED = wire.CommandResult.OUTCOME_DONE, wire.CommandResult.OUTCOME_FAILED
SHED = wire.Command(shed_disk=wire.ShedDisk())
TEST = wire.Command(self_test=wire.SelfTest())


class FullHost(FakeHost):
    """A disk on which each program frees what it frees; those in `complaints` fail."""

    def __init__(self) -> None:
        super().__init__()
        self.free = 1000
        self.frees = {"apt-get": 300, "journalctl": 50}
        self.ran: list[Sequence[str]] = []

    def run(self, argv: Sequence[str]) -> CommandOutput:
        output = super().run(argv)
        if argv[0] == "df":
            return CommandOutput(0, f"Avail\n{self.free}\n", "")
        self.ran.append(argv)
        self.free += 0 if output.exit_code else self.frees.get(argv[0], 0)
        return output


def test_what_nobody_misses_is_shed_and_how_much_it_was_is_told() -> None:
    host = FullHost()
    host.files[layout.MAIL_LOG] = StoredFile(b"log", "root", layout.MAIL_LOG_GROUP, 0o640)
    result = perform(SHED, host)
    assert (result.outcome, result.detail) == (DONE, "freed 350 octets")
    assert json.loads(result.output) == {"freed": {"packages": 300, "journal": 50, "mail_log": 0}, "failed": {}}
    assert list(host.ran[:2]) == [("apt-get", "clean"), ("journalctl", "--rotate", "--vacuum-size=64M")]
    assert host.files[layout.MAIL_LOG].content == b""


def test_a_step_that_fails_keeps_no_other_from_being_done() -> None:
    host = FullHost()
    host.complaints["apt-get"] = "E: the cache is locked"
    result = perform(SHED, host)
    assert (result.outcome, result.detail) == (DONE, "freed 50 octets; could not shed packages")
    assert "the cache is locked" in json.loads(result.output)["failed"]["packages"]


def test_nothing_that_can_be_shed_is_a_failure() -> None:
    host = FullHost()
    host.complaints |= {"apt-get": "no", "journalctl": "no"}
    assert perform(SHED, host).outcome == FAILED


def test_a_server_that_is_well_says_so() -> None:
    host = FakeHost()
    host.active.update(ORDER)
    result = perform(TEST, host)
    assert result.outcome == DONE
    assert json.loads(result.output) == {service.value: "ok" for service in ORDER}


def test_what_does_not_run_or_is_configured_wrong_is_named() -> None:
    host = FakeHost()
    host.active.update(ORDER[1:])
    host.complaints["doveconf"] = "doveconf: Fatal: unknown setting"
    result = perform(TEST, host)
    assert result.outcome == FAILED
    assert f"{ORDER[0].value}: does not run" in result.detail
    assert "dovecot: doveconf: Fatal: unknown setting" in result.detail
