"""penguin-configure: makes the server what a desired state says.

systemd starts it when the network half connects to /run/penguin/configure.sock, and hands the listening socket over as
descriptor 3 (sd_listen_fds(3)). One connection is one request (a desired state, a command, an issued certificate or a
look) and one answer (`wire.py`). Requests are served one after the other. Without one for `IDLE_SECONDS` it
exits: root's memory is not held for what happens once a day.

SECURITY: runs as root. Only root and the user penguin-agent are heard (SO_PEERCRED, beside the socket's mode). The
request is untrusted: its values are refused unless they fit `mailstack/syntax.py`, and paths and commands are never
taken from it.

DIAGNOSTICS: one log line for each request and outcome, without values. A change that a crash cut off is put back before
anything else.
"""

import logging
import os
import pwd
import socket
import struct
import sys
import time
from collections.abc import Callable

from google.protobuf.message import DecodeError

from agent.configuration import wire
from agent.configuration.deeds import perform
from agent.configuration.root_look import look_at_mail
from agent.configuration.signing_trial import try_signing
from agent.configuration.translate import to_spec
from agent.identity.own_log import start_own_log
from agent.settings import Settings
from log_lines.lines import about
from mailstack import layout
from mailstack.apply.certificate import install
from mailstack.apply.converge import ConvergeOutcome, Outcome, converge, recover
from mailstack.apply.desired import drifted_paths
from mailstack.apply.host import Host, LinuxHost
from mailstack.certificates.pair import Pair
from mailstack.syntax import InvalidSpec
from protos.agent.v1.commands_pb2 import Command, CommandResult
from protos.agent.v1.configuration_pb2 import CertificatePair, ConfigurationResult, DesiredState
from protos.agent.v1.root_half_pb2 import Drift, RootAnswer, RootRequest

IDLE_SECONDS = 30.0
#: Seconds for a peer to send its request or take the answer.
_PEER_TIMEOUT = 10.0
_FIRST_INHERITED_DESCRIPTOR = 3
_PEER_CREDENTIALS = struct.Struct("3i")
_NETWORK_HALF_USER = "penguin-agent"

_OUTCOMES = {
    Outcome.APPLIED: ConfigurationResult.OUTCOME_APPLIED,
    Outcome.REFUSED: ConfigurationResult.OUTCOME_REFUSED,
    Outcome.ROLLED_BACK: ConfigurationResult.OUTCOME_ROLLED_BACK,
}

_log = logging.getLogger(__name__)

Answer = Callable[[RootRequest], RootAnswer]


def main() -> None:
    """Serve on the inherited socket until idle."""
    start_own_log(Settings().identity_dir)
    host = LinuxHost()
    if recover(host):
        _log.warning("a change was cut off; what was there before is back")
    with inherited_socket() as listener:
        serve(listener, lambda request: answer(request, host), IDLE_SECONDS)


def inherited_socket() -> socket.socket:
    """Return the listening socket from systemd; exit with a message when there is none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        sys.exit("penguin-configure is started by systemd, through penguin-configure.socket")
    return socket.socket(fileno=_FIRST_INHERITED_DESCRIPTOR)


def answer(request: RootRequest, host: Host) -> RootAnswer:
    """Do what the request asks; raise `BadFrame` when it asks nothing that is known here."""
    match request.WhichOneof("body"):
        case "desired_state":
            result = apply(request.desired_state, lambda spec: converge(spec, host))
            return RootAnswer(configuration_result=result)
        case "command":
            return RootAnswer(command_result=_perform(request.command, host))
        case "certificate_pair":
            return RootAnswer(configuration_result=serve_certificate(request.certificate_pair, host))
        case "look_for_drift":
            return RootAnswer(drift=Drift(paths=drifted_paths(host)))
        case "look_at_mail":
            return RootAnswer(mail_seen=look_at_mail(request.look_at_mail, host))
        case "try_signing":
            return RootAnswer(signed_trials=try_signing(request.try_signing, layout.OPENDKIM_SOCKET))
        case _:
            raise wire.BadFrame("the request asks nothing that is known here")


def serve(listener: socket.socket, answer: Answer, idle_seconds: float) -> None:
    """Answer requests, one after the other, until none has come for `idle_seconds`."""
    listener.settimeout(idle_seconds)
    while True:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            return
        with connection:
            connection.settimeout(_PEER_TIMEOUT)
            try:
                _answer(connection, answer)
            except (OSError, wire.BadFrame, DecodeError) as error:
                _log.warning("a request was dropped: %s", error)


def apply(state: DesiredState, converge_to: Callable[..., ConvergeOutcome]) -> ConfigurationResult:
    """Turn the desired state into a spec, converge to it, and put the outcome into the wire's words."""
    started = time.monotonic()
    try:
        outcome = converge_to(to_spec(state.server))
    except InvalidSpec as error:
        outcome = ConvergeOutcome(Outcome.REFUSED, str(error))
    seconds = time.monotonic() - started
    _log.info("version %d: %s in %.2f s: %s", state.version, outcome.outcome.value, seconds, outcome.detail)
    return ConfigurationResult(
        version=state.version,
        outcome=_OUTCOMES[outcome.outcome],
        detail=outcome.detail,
        touched=[service.value for service in outcome.touched],
        files_sha256=outcome.files_sha256,
        seconds=seconds,
    )


def serve_certificate(pair: CertificatePair, host: Host) -> ConfigurationResult:
    """Let the mail server show an issued certificate, and put the outcome into the wire's words."""
    started = time.monotonic()
    outcome = install(Pair(pair.chain_pem, pair.key_pem), host)
    seconds = time.monotonic() - started
    _log.info("an issued certificate: %s in %.2f s: %s", outcome.outcome.value, seconds, outcome.detail)
    return ConfigurationResult(
        outcome=_OUTCOMES[outcome.outcome],
        detail=outcome.detail,
        touched=[service.value for service in outcome.touched],
        seconds=seconds,
    )


def _perform(command: Command, host: Host) -> CommandResult:
    with about(request_id=command.request_id or None):
        result = perform(command, host)
        outcome = CommandResult.Outcome.Name(result.outcome).lower()
        _log.info("command %s: %s %s", command.WhichOneof("deed"), outcome, result.detail)
    return result


def _answer(connection: socket.socket, answer: Answer) -> None:
    if not _may_speak(connection):
        _log.warning("a peer that is neither root nor %s was sent away", _NETWORK_HALF_USER)
        return
    request = RootRequest.FromString(wire.receive(connection))
    connection.sendall(wire.frame(answer(request).SerializeToString()))


def _may_speak(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    _, user_id, _ = _PEER_CREDENTIALS.unpack(credentials)
    if user_id == 0:
        return True
    try:
        return bool(user_id == pwd.getpwnam(_NETWORK_HALF_USER).pw_uid)
    except KeyError:
        return False


if __name__ == "__main__":
    main()
