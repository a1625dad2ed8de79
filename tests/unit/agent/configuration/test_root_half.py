import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.configuration import wire
from agent.configuration.root_half import answer, apply, inherited_socket, serve
from log_lines.lines import JsonLines
from mailstack.apply.converge import ConvergeOutcome, Outcome
from mailstack.rendered_file import Service
from mailstack.spec import MailServerSpec
from protos.agent.v1.commands_pb2 import Command, CommandResult, RestartMailServer
from protos.agent.v1.configuration_pb2 import ConfigurationResult, DesiredState
from protos.agent.v1.root_half_pb2 import RootAnswer, RootRequest
from tests.fakes.host import FakeHost
from tests.golden.spec import SPEC
from tests.unit.agent.configuration.wire_form import wire_form


def _echo(request: RootRequest) -> RootAnswer:
    return RootAnswer(configuration_result=ConfigurationResult(version=request.desired_state.version))


def _request(version: int) -> bytes:
    return wire.frame(RootRequest(desired_state=DesiredState(version=version)).SerializeToString())


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "configure.sock"))
        listening.listen()
        yield listening


@pytest.fixture
def serving(listener: socket.socket) -> Iterator[str]:
    """The path of a socket that is served until it has been idle for a moment."""
    thread = threading.Thread(target=serve, args=(listener, _echo, 0.2))
    thread.start()
    yield listener.getsockname()
    thread.join(timeout=10)
    assert not thread.is_alive()


def _ask(path: str, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(65536)


def test_a_request_gets_its_answer_and_an_idle_server_ends(serving: str) -> None:
    answer = _ask(serving, _request(7))

    assert RootAnswer.FromString(answer[wire.LENGTH.size :]).configuration_result.version == 7


@pytest.mark.parametrize(
    "request_bytes",
    [b"", b"\0\0", wire.LENGTH.pack(10) + b"short", wire.LENGTH.pack(2**32 - 1), wire.frame(b"\xff not a message")],
)
def test_a_bad_request_is_dropped_and_the_next_is_answered(serving: str, request_bytes: bytes) -> None:
    assert _ask(serving, request_bytes) == b""
    assert _ask(serving, _request(8))


def test_outcomes_are_put_into_the_words_of_the_wire() -> None:
    seen: list[MailServerSpec] = []

    def converge(spec: MailServerSpec) -> ConvergeOutcome:
        seen.append(spec)
        return ConvergeOutcome(Outcome.ROLLED_BACK, "the probe failed", (Service.DOVECOT, Service.POSTFIX), "ab" * 32)

    result = apply(DesiredState(version=3, server=wire_form(SPEC)), converge)

    assert seen == [SPEC]
    assert (result.version, result.outcome) == (3, ConfigurationResult.OUTCOME_ROLLED_BACK)
    assert (result.detail, list(result.touched)) == ("the probe failed", ["dovecot", "postfix"])
    assert result.files_sha256 == "ab" * 32
    assert result.seconds >= 0


def test_a_state_that_is_not_valid_is_refused_without_converging() -> None:
    def converge(_spec: MailServerSpec) -> ConvergeOutcome:
        raise AssertionError("must not be called")

    server = wire_form(SPEC)
    server.hostname = "not a name"
    result = apply(DesiredState(version=3, server=server), converge)

    assert result.outcome == ConfigurationResult.OUTCOME_REFUSED
    assert "not a name" in result.detail


def test_a_command_is_performed_and_answered_as_one() -> None:
    host = FakeHost()
    command = Command(id=b"id", restart_mail_server=RestartMailServer())
    result = answer(RootRequest(command=command), host).command_result
    assert (result.id, result.outcome) == (b"id", CommandResult.OUTCOME_DONE)
    assert "restart postfix" in host.told


def test_a_request_of_a_kind_not_known_here_is_dropped() -> None:
    with pytest.raises(wire.BadFrame):
        answer(RootRequest(), FakeHost())


def test_without_a_socket_from_systemd_it_says_how_it_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "1")

    with pytest.raises(SystemExit, match=r"penguin-configure\.socket"):
        inherited_socket()


def test_a_commands_line_names_the_request_that_asked_for_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(JsonLines())
    caplog.set_level(logging.INFO, "agent.configuration.root_half")
    command = Command(id=bytes(16), request_id="req-herring", restart_mail_server=RestartMailServer())
    answer(RootRequest(command=command), FakeHost())
    line = json.loads(caplog.text)
    assert line["request_id"] == "req-herring"
    assert line["message"].startswith("command restart_mail_server: outcome_done restarted")
