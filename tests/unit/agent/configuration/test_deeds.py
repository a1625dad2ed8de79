import json
from collections.abc import Sequence

import pytest

from agent.configuration.deeds import perform
from mailstack import layout
from mailstack.apply.host import StoredFile
from mailstack.apply.plan import ORDER
from mailstack.checking import CommandOutput
from mailstack.dovecot.render import USERS, copy_configuration
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


def _asked(host: FakeHost, **asked: bool | float | list[str]) -> wire.CommandResult.Outcome.ValueType:
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


def test_records_that_can_be_seen_are_written_down_and_nothing_else_is_asked() -> None:
    host = FakeHost()
    host.files[layout.CERTIFICATE_ORDER] = StoredFile(b"{}", "root", "root", 0o644)
    assert _asked(host, challenges_shown=["V" * 43, "W" * 43]) == wire.CommandResult.OUTCOME_DONE
    assert host.files[layout.CERTIFICATE_CHALLENGES_SHOWN].content == b"V" * 43 + b"\n" + b"W" * 43
    assert layout.CERTIFICATE_ASKED not in host.files
    assert host.commands == []


@pytest.mark.parametrize(
    "values", [["V" * 42], ["V" * 44], ["V" * 42 + "="], ["V" * 43 + "\n"], ["V" * 43, "W"], ["V" * 43] * 101]
)
def test_what_no_authority_looks_for_is_not_written_down(values: list[str]) -> None:
    host = FakeHost()
    host.files[layout.CERTIFICATE_ORDER] = StoredFile(b"{}", "root", "root", 0o644)
    assert _asked(host, challenges_shown=values) == wire.CommandResult.OUTCOME_REFUSED
    assert layout.CERTIFICATE_CHALLENGES_SHOWN not in host.files


def test_without_an_authority_nobody_can_be_asked() -> None:
    host = FakeHost()
    assert _asked(host, renew=True) == wire.CommandResult.OUTCOME_REFUSED
    assert layout.CERTIFICATE_ASKED not in host.files


def _delete_mailbox(address: str, host: FakeHost, *, has_moved: bool = False) -> wire.CommandResult:
    return perform(wire.Command(delete_mailbox=wire.DeleteMailbox(address=address, has_moved=has_moved)), host)


def test_mail_is_deleted_of_an_address_without_a_mailbox_only() -> None:
    host = FakeHost()
    kept, gone = "kept@shop.example", "gone@shop.example"
    for address in (kept, gone):
        local_part, _, domain = address.partition("@")
        host.files[f"/var/mail/vhosts/{domain}/{local_part}/Maildir/new/1"] = StoredFile(
            b"mail", "vmail", "vmail", 0o600
        )
    users = f"{kept}:{{ARGON2ID}}x\npenguin-move-1@mx1.example:{{ARGON2ID}}x::::::user={gone}\n"
    host.files[USERS] = StoredFile(users.encode(), "root", "dovecot", 0o640)

    assert _delete_mailbox(kept, host).outcome == wire.CommandResult.OUTCOME_REFUSED
    assert _delete_mailbox(gone, host).outcome == wire.CommandResult.OUTCOME_DONE

    assert [path for path in host.files if path.startswith("/var/mail")] == [
        "/var/mail/vhosts/shop.example/kept/Maildir/new/1"
    ]


class LateHost(QueueHost):
    """One where `find` finds a message that was delivered late."""

    def run(self, argv: Sequence[str]) -> CommandOutput:
        output = super().run(argv)
        return CommandOutput(0, "/late\n", "") if argv[0] == "find" else output


@pytest.mark.parametrize(("host", "outcome"), [(LateHost(), "REFUSED"), (QueueHost(), "DONE")])
def test_mail_that_was_delivered_after_the_last_copy_is_not_deleted(host: QueueHost, outcome: str) -> None:
    host.files[USERS] = StoredFile(b"", "root", "dovecot", 0o640)
    host.files["/var/mail/vhosts/shop.example/gone/Maildir/new/1"] = StoredFile(b"mail", "vmail", "vmail", 0o600)
    address = "gone@shop.example"

    ended = perform(wire.Command(end_sessions=wire.EndSessions(address=address)), host)
    deleted = _delete_mailbox(address, host, has_moved=True)

    assert ended.outcome == wire.CommandResult.OUTCOME_DONE
    assert deleted.outcome == wire.CommandResult.Outcome.Value(f"OUTCOME_{outcome}")
    assert any(path.startswith("/var/mail") for path in host.files) == (outcome == "REFUSED")
    since = f"@{host.now().timestamp():.6f}"
    assert [argv[4:6] for argv in host.ran if argv[0] == "find"] == [["-newermt", since]]
    assert _delete_mailbox(address, host).outcome == wire.CommandResult.OUTCOME_DONE


def test_no_mail_is_deleted_before_a_configuration_says_who_has_a_mailbox() -> None:
    assert _delete_mailbox("gone@shop.example", FakeHost()).outcome == wire.CommandResult.OUTCOME_REFUSED


@pytest.mark.parametrize(
    "address", ["", "../../etc@shop.example", "a/b@shop.example", "a@../..", "-A", "a@b.example\n"]
)
def test_what_is_no_address_reaches_no_path_and_no_command(address: str) -> None:
    host = QueueHost()
    host.files[USERS] = StoredFile(b"", "root", "dovecot", 0o640)
    copy = perform(wire.Command(copy_mailbox=wire.CopyMailbox(address=address)), host)
    assert {copy.outcome, _delete_mailbox(address, host).outcome} == {wire.CommandResult.OUTCOME_REFUSED}
    assert host.ran == []


def test_a_mailbox_is_copied_only_where_it_moves_to() -> None:
    host = QueueHost()
    copy = wire.Command(copy_mailbox=wire.CopyMailbox(address="a@shop.example"))
    assert perform(copy, host).outcome == wire.CommandResult.OUTCOME_REFUSED
    host.files[copy_configuration("a@shop.example")] = StoredFile(b"", "root", "root", 0o600)
    assert perform(copy, host).outcome == wire.CommandResult.OUTCOME_DONE
    assert [argv[3:] for argv in host.ran] == [["backup", "-R", "-u", "a@shop.example", "imapc:"]]
