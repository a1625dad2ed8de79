"""Deeds of care: making room on a full disk of what nobody misses, and a look at itself.

Each is a closed list of steps; nothing of a command reaches a command line. A step that fails does not keep the others
from being done, and what each came to is told.
"""

import json
from collections.abc import Callable
from functools import partial

from agent.configuration.told import Told
from mailstack import layout
from mailstack.apply.host import CommandFailed, Host, must_run
from mailstack.apply.plan import ORDER
from mailstack.checking import CommandOutput
from mailstack.dovecot import check as dovecot_check
from mailstack.opendkim import check as opendkim_check
from mailstack.opendmarc import check as opendmarc_check
from mailstack.postfix import check as postfix_check
from mailstack.rendered_file import Service
from protos.agent.v1.commands_pb2 import Command

#: What of the system's journal is kept.
_KEPT_JOURNAL = "64M"
_FREE = ("df", "--output=avail", "--block-size=1", "/var")
#: What can be fetched again, and what is only for people to read.
_SHED = {
    "packages": ("apt-get", "clean"),
    "journal": ("journalctl", "--rotate", f"--vacuum-size={_KEPT_JOURNAL}"),
}
_CHECKS = {
    Service.POSTFIX: (postfix_check.commands, postfix_check.complaint),
    Service.DOVECOT: (dovecot_check.commands, dovecot_check.complaint),
    Service.OPENDKIM: (opendkim_check.commands, opendkim_check.complaint),
    Service.OPENDMARC: (opendmarc_check.commands, opendmarc_check.complaint),
}


class ShedDisk:
    """The deed `shed_disk`; `rotate` puts an empty mail log in the place of the full one and drops the oldest."""

    def __init__(self, rotate: Callable[[Command, Host], str]) -> None:
        self._rotate = rotate

    def __call__(self, command: Command, host: Host) -> Told:
        """Free what can be freed and tell how much each step did. Raises `CommandFailed` when none could be done."""
        steps: dict[str, Callable[[], object]] = {name: partial(must_run, host, argv) for name, argv in _SHED.items()}
        if host.exists(layout.MAIL_LOG):
            steps["mail_log"] = lambda: self._rotate(command, host)
        freed: dict[str, int] = {}
        failed: dict[str, str] = {}
        for name, step in steps.items():
            try:
                before = _free(host)
                step()
                freed[name] = max(0, _free(host) - before)
            except (CommandFailed, OSError) as error:
                failed[name] = str(error)
        if not freed:
            raise CommandFailed(["shed_disk"], CommandOutput(1, "", "; ".join(failed.values())))
        told = f"freed {sum(freed.values())} octets"
        if failed:
            told += f"; could not shed {', '.join(failed)}"
        return Told(told, json.dumps({"freed": freed, "failed": failed}))


def self_test(_command: Command, host: Host) -> Told:
    """See whether the daemons run and what their own checkers say. Raises `CommandFailed` when something is wrong."""
    running = host.running(ORDER)
    found = {service.value: _fault(host, service, is_running=service in running) for service in ORDER}
    wrong = {name: fault for name, fault in found.items() if fault}
    if wrong:
        words = "; ".join(f"{name}: {fault}" for name, fault in wrong.items())
        raise CommandFailed(["self-test"], CommandOutput(1, "", words))
    return Told("everything runs, and no checker finds fault", json.dumps(dict.fromkeys(found, "ok")))


def _fault(host: Host, service: Service, *, is_running: bool) -> str:
    if not is_running:
        return "does not run"
    commands, complaint = _CHECKS[service]
    faults = (complaint(host.run(argv)) for argv in commands(""))
    return next((fault for fault in faults if fault), "")


def _free(host: Host) -> int:
    """Return the octets that are free. Raises `CommandFailed` when that cannot be told."""
    output = host.run(_FREE)
    last = output.stdout.split()[-1:] if not output.exit_code else []
    if not last or not last[0].isdigit():
        raise CommandFailed(_FREE, output)
    return int(last[0])
