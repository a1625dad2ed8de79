"""What root does to the mail server when it is asked to: a closed list, arguments checked here once more.

SECURITY: runs as root. A queue id or an address (mailboxes.py) reaches a command line or a path only when it is one;
nothing else is taken from a command.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from agent.configuration.backup_deeds import back_up_mail, list_mail_backups, restore_mail
from agent.configuration.care_deeds import ShedDisk, self_test
from agent.configuration.keep_mail import MailKeeper
from agent.configuration.mailboxes import copy_mailbox, delete_mailbox, end_sessions
from agent.configuration.package_deeds import change_packages, confirm_packages, roll_back_packages
from agent.configuration.told import Refused, Told
from agent.configuration.upgrade_deeds import confirm_release, roll_back_agent, upgrade_agent
from mailstack import layout
from mailstack.apply.host import CommandFailed, Host, StoredFile
from mailstack.apply.plan import ORDER
from mailstack.checking import CommandOutput
from mailstack.rendered_file import Service
from mailstack.spec import MAX_CERTIFIED_NAMES
from protos.agent.v1.commands_pb2 import Command, CommandResult

#: Postfix's short and long queue ids (postconf(5), enable_long_queue_ids).
_QUEUE_ID = re.compile(r"[0-9A-Za-z]{6,32}", re.ASCII)
#: What an authority looks for in a TXT record: a SHA-256, base64url (RFC 8555, section 8.4).
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
#: The names of one certificate, the host's own among them.
_MOST_CHALLENGES = MAX_CERTIFIED_NAMES + 1
#: Logs that are kept beside the one that is written.
_KEPT_LOGS = 4
#: Seconds.
_LONGEST_PORT_OPENING = 600.0


def perform(command: Command, host: Host) -> CommandResult:
    """Do it and say what came of it."""
    kind = command.WhichOneof("deed")
    deed = DEEDS.get(kind) if kind else None
    if deed is None:
        return _result(command, CommandResult.OUTCOME_REFUSED, "the root half does not know that command")
    try:
        told = deed(command, host)
    except Refused as error:
        return _result(command, CommandResult.OUTCOME_REFUSED, str(error))
    except (CommandFailed, OSError) as error:
        return _result(command, CommandResult.OUTCOME_FAILED, str(error))
    if isinstance(told, Told):
        return _result(command, CommandResult.OUTCOME_DONE, told.detail, told.output)
    return _result(command, CommandResult.OUTCOME_DONE, told)


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
        raise Refused(f"port 80 is open for 0 to {_LONGEST_PORT_OPENING:.0f} s")
    if host.read(layout.CERTIFICATE_ORDER) is None:
        raise Refused("no certificate authority is set")
    if asked.challenges_shown:
        return _note_challenges(asked.challenges_shown, host)
    found = host.read(layout.CERTIFICATE_ASKED)
    written: dict[str, float] = json.loads(found.content) if found else {}
    if asked.renew:
        written["renew_at"] = now
    if asked.port_open_seconds:
        written |= {"port_at": now, "port_until": now + asked.port_open_seconds}
    host.write(layout.CERTIFICATE_ASKED, StoredFile(json.dumps(written).encode(), "root", "root", 0o644))
    _must_run(host, ["systemctl", "start", "--no-block", "penguin-certificates.service"])
    return "the certificate authority is asked"


def _note_challenges(values: Sequence[str], host: Host) -> str:
    """Write down which records can be seen; certbot's hook waits for them (agent/acme/dns_hook.py)."""
    if len(values) > _MOST_CHALLENGES or not all(map(_CHALLENGE.fullmatch, values)):
        raise Refused("that is nothing an authority looks for")
    host.write(layout.CERTIFICATE_CHALLENGES_SHOWN, StoredFile("\n".join(values).encode(), "root", "root", 0o644))
    return "the records for the authority are known to be there"


def _rotate_mail_log(_command: Command, host: Host) -> str:
    """Put an empty log in the place of the full one by one rename, and have Postfix open it.

    What is still written to the full one meanwhile is read there: its reader goes on to the next file once that has
    lines. A log that Postfix made itself would not be its reader's group's to read.
    """
    if not host.exists(layout.MAIL_LOG):
        raise Refused("there is no mail log")
    generations = [f"{layout.MAIL_LOG}.{number}" for number in range(1, _KEPT_LOGS + 1)]
    # An earlier rotation that was cut off has linked it already; a second name would have it read twice.
    if host.run(["test", layout.MAIL_LOG, "-ef", generations[0]]).exit_code:
        host.remove(generations[-1])
        for older, newer in pairwise(reversed(generations)):
            if host.exists(newer):
                _must_run(host, ["mv", "--", newer, older])
        _must_run(host, ["ln", "--", layout.MAIL_LOG, generations[0]])
    host.write(layout.MAIL_LOG, StoredFile(b"", "root", layout.MAIL_LOG_GROUP, 0o640))
    host.reload(Service.POSTFIX)
    return "Postfix writes to a new log"


DEEDS: Mapping[str, Callable[[Command, Host], str | Told]] = {
    "restart_mail_server": _restart,
    "reload_mail_server": _reload,
    "flush_queue": _flush,
    "hold_queued": _hold,
    "release_queued": _release,
    "delete_queued": _delete,
    "issue_certificate": _issue_certificate,
    "keep_mail": MailKeeper(),
    "rotate_mail_log": _rotate_mail_log,
    "shed_disk": ShedDisk(_rotate_mail_log),
    "self_test": self_test,
    "upgrade_agent": upgrade_agent,
    "roll_back_agent": roll_back_agent,
    "confirm_release": confirm_release,
    "change_packages": change_packages,
    "roll_back_packages": roll_back_packages,
    "confirm_packages": confirm_packages,
    "back_up_mail": back_up_mail,
    "restore_mail": restore_mail,
    "list_mail_backups": list_mail_backups,
    "copy_mailbox": copy_mailbox,
    "delete_mailbox": delete_mailbox,
    "end_sessions": end_sessions,
}


def _postsuper(host: Host, option: str, queue_id: str) -> str:
    """Act on one message; postsuper(1) says on standard error how many it found."""
    if not _QUEUE_ID.fullmatch(queue_id):
        raise Refused("that is no queue id")
    output = _must_run(host, ["postsuper", option, queue_id])
    if not output.stderr.strip():
        raise Refused(f"there is no message {queue_id} in the queue, or not where that could be done to it")
    return output.last_words


def _must_run(host: Host, argv: Sequence[str]) -> CommandOutput:
    output = host.run(argv)
    if output.exit_code:
        raise CommandFailed(argv, output)
    return output


def _names() -> str:
    return ", ".join(service.value for service in ORDER)


def _result(command: Command, outcome: CommandResult.Outcome.ValueType, detail: str, output: str = "") -> CommandResult:
    return CommandResult(id=command.id, outcome=outcome, detail=detail, output=output)
