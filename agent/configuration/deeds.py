"""What root does to the mail server when it is asked to: a closed list, arguments checked here once more.

SECURITY: runs as root. A queue id or an address reaches a command line or a path only when it is one; nothing else is
taken from a command. Mail is deleted only of an address that the applied configuration gives no mailbox.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence

from mailstack import layout
from mailstack.apply.host import CommandFailed, Host, StoredFile
from mailstack.apply.plan import ORDER
from mailstack.checking import CommandOutput
from mailstack.dovecot.render import USERS, copy_configuration
from mailstack.syntax import InvalidSpec, require_address
from protos.agent.v1.commands_pb2 import Command, CommandResult

#: Postfix's short and long queue ids (postconf(5), enable_long_queue_ids).
_QUEUE_ID = re.compile(r"[0-9A-Za-z]{6,32}", re.ASCII)
#: Seconds.
_LONGEST_PORT_OPENING = 600.0

#: doveadm-kick(1): no such user is connected.
_NOBODY_TO_KICK = 68


class _Refused(Exception):
    """The command's argument is no good."""


def perform(command: Command, host: Host) -> CommandResult:
    """Do it and say what came of it."""
    kind = command.WhichOneof("deed")
    deed = DEEDS.get(kind) if kind else None
    if deed is None:
        return _result(command, CommandResult.OUTCOME_REFUSED, "the root half does not know that command")
    try:
        return _result(command, CommandResult.OUTCOME_DONE, deed(command, host))
    except _Refused as error:
        return _result(command, CommandResult.OUTCOME_REFUSED, str(error))
    except (CommandFailed, OSError) as error:
        return _result(command, CommandResult.OUTCOME_FAILED, str(error))


def _restart(_command: Command, host: Host) -> str:
    for service in ORDER:
        host.restart(service)
    return f"restarted {_names()}"


def _reload(_command: Command, host: Host) -> str:
    for service in ORDER:
        host.reload(service)
    return f"reloaded {_names()}"


def _flush(_command: Command, host: Host) -> str:
    _must_run(host, ["postqueue", "-f"])
    return "told Postfix to try everything that is deferred"


def _hold(command: Command, host: Host) -> str:
    return _postsuper(host, "-h", command.hold_queued.queue_id)


def _release(command: Command, host: Host) -> str:
    return _postsuper(host, "-H", command.release_queued.queue_id)


def _delete(command: Command, host: Host) -> str:
    return _postsuper(host, "-d", command.delete_queued.queue_id)


def _issue_certificate(command: Command, host: Host) -> str:
    """Write down that it is asked for (agent/acme/asked.py), and have penguin-certificates look.

    A second path in its path unit may have systemd miss a change of the first.
    """
    asked, now = command.issue_certificate, host.now().timestamp()
    if not 0 <= asked.port_open_seconds <= _LONGEST_PORT_OPENING:
        raise _Refused(f"port 80 is open for 0 to {_LONGEST_PORT_OPENING:.0f} s")
    if host.read(layout.CERTIFICATE_ORDER) is None:
        raise _Refused("no certificate authority is set")
    found = host.read(layout.CERTIFICATE_ASKED)
    written: dict[str, float] = json.loads(found.content) if found else {}
    if asked.renew:
        written["renew_at"] = now
    if asked.port_open_seconds:
        written |= {"port_at": now, "port_until": now + asked.port_open_seconds}
    host.write(layout.CERTIFICATE_ASKED, StoredFile(json.dumps(written).encode(), "root", "root", 0o644))
    _must_run(host, ["systemctl", "start", "--no-block", "penguin-certificates.service"])
    return "the certificate authority is asked"


def _copy_mailbox(command: Command, host: Host) -> str:
    """Pull over IMAP; doveadm-sync(1) finds out by itself what is here already.

    The host ends a command after a minute; whoever asked asks again then.
    """
    address = _address(command.copy_mailbox.address)
    configuration = copy_configuration(address)
    if not host.exists(configuration):
        raise _Refused(f"the mailbox {address} is not one that moves here")
    _must_run(host, ["doveadm", "-c", configuration, "backup", "-R", "-u", address, "imapc:"])
    return f"copied the mailbox {address}"


def _delete_mailbox(command: Command, host: Host) -> str:
    address = _address_without_mailbox(command.delete_mailbox.address, host)
    local_part, _, domain = address.rpartition("@")
    host.remove_directory(f"{layout.MAIL_ROOT}/{domain}/{local_part}")
    return f"deleted the mail of {address}"


def _end_sessions(command: Command, host: Host) -> str:
    address = _address_without_mailbox(command.end_sessions.address, host)
    output = host.run(["doveadm", "kick", address])
    if output.exit_code not in {0, _NOBODY_TO_KICK}:
        raise CommandFailed(["doveadm", "kick"], output)
    return f"nobody is logged in to {address}"


DEEDS: Mapping[str, Callable[[Command, Host], str]] = {
    "restart_mail_server": _restart,
    "reload_mail_server": _reload,
    "flush_queue": _flush,
    "hold_queued": _hold,
    "release_queued": _release,
    "delete_queued": _delete,
    "issue_certificate": _issue_certificate,
    "copy_mailbox": _copy_mailbox,
    "delete_mailbox": _delete_mailbox,
    "end_sessions": _end_sessions,
}


def _address_without_mailbox(address: str, host: Host) -> str:
    users = host.read(USERS)
    if users is None or any(line.startswith(f"{address}:") for line in users.content.decode().splitlines()):
        raise _Refused(f"{address} has a mailbox here")
    return _address(address)


def _address(address: str) -> str:
    try:
        require_address(address)
    except InvalidSpec as error:
        raise _Refused(str(error)) from None
    return address


def _postsuper(host: Host, option: str, queue_id: str) -> str:
    """Act on one message; postsuper(1) says on standard error how many it found."""
    if not _QUEUE_ID.fullmatch(queue_id):
        raise _Refused("that is no queue id")
    output = _must_run(host, ["postsuper", option, queue_id])
    if not output.stderr.strip():
        raise _Refused(f"there is no message {queue_id} in the queue, or not where that could be done to it")
    return output.last_words


def _must_run(host: Host, argv: Sequence[str]) -> CommandOutput:
    output = host.run(argv)
    if output.exit_code:
        raise CommandFailed(argv, output)
    return output


def _names() -> str:
    return ", ".join(service.value for service in ORDER)


def _result(command: Command, outcome: CommandResult.Outcome.ValueType, detail: str) -> CommandResult:
    return CommandResult(id=command.id, outcome=outcome, detail=detail)
