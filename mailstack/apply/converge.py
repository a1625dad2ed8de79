"""Make the server what its spec says, or leave it exactly as it was.

    look      which daemons, which files, what runs
    render    the files it should have; compare
    check     stage the changed ones, ask each daemon's validator: a refusal ends here, nothing was touched
    back up   what will be replaced, journaled on disk
    write     each file whole
    take up   services reload or restart in order, those whose files did not change not at all; one that has none stops
    verify    a real message over SMTP and IMAP
    commit    drop the journal; or, when anything after the journal failed, put everything back

A process that dies in between leaves the journal; `recover` is called before anything else at the next start.

SECURITY: runs as root on values that came over the link. They cannot be ill-formed (mailstack/spec.py), are written
only to paths named in renderers, and reach no shell.
"""

import enum
import logging
from collections.abc import Callable
from dataclasses import dataclass

from mailstack import layout
from mailstack.apply import backup, probe
from mailstack.apply.accounts import prepare
from mailstack.apply.addresses import take_up
from mailstack.apply.desired import desired_files, digest, recorded_paths
from mailstack.apply.host import CommandFailed, Host, StoredFile
from mailstack.apply.plan import EVERY, TABLE_SUFFIX, Plan, make_plan, wanted_services
from mailstack.apply.staging import Refused, stage_and_check
from mailstack.certificates.pair import unpack
from mailstack.rendered_file import OnChange, RenderedFile, Service
from mailstack.spec import MailServerSpec

_log = logging.getLogger(__name__)

#: Verifies the running server against its spec and the certificate it must serve (PEM); returns what was verified in
#: one sentence, or raises `ProbeFailed`.
Verify = Callable[[MailServerSpec, bytes], str]


class Outcome(enum.Enum):
    """What became of it."""

    #: Everything is as the spec says, and verified.
    APPLIED = "applied"
    #: Nothing was touched.
    REFUSED = "refused"
    #: Everything is as it was.
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True, slots=True)
class ConvergeOutcome:
    """The outcome, one sentence about it, the services touched in order, and SHA-256 over all files (hex)."""

    outcome: Outcome
    detail: str
    touched: tuple[Service, ...] = ()
    files_sha256: str = ""


def converge(spec: MailServerSpec, host: Host, verify: Verify = probe.verify) -> ConvergeOutcome:
    """Apply the spec. Failures are outcomes, not exceptions, unless putting back itself fails (`OSError`)."""
    try:
        prepare(host)
        desired = desired_files(spec, host)
        running = host.running(EVERY)
        plan = make_plan(desired, _find(host, desired), recorded_paths(host), running)
        writes = stage_and_check(host, desired, plan)
        backup.save(host, [*(file.path for file in writes), *plan.removed], plan.undone_by, running)
    except (Refused, CommandFailed, OSError) as error:
        return ConvergeOutcome(Outcome.REFUSED, str(error))
    sha256 = digest(desired)
    touched = (*(service for service, _ in plan.actions), *plan.stopped)
    try:
        _write(host, writes, plan)
        detail = verify(spec, _certificate(desired))
        host.enable(wanted_services(desired))
        for service in plan.stopped:
            host.disable(service)
    except (probe.ProbeFailed, CommandFailed, OSError) as error:
        _log.warning("rolling back: %s", error)
        failures = backup.restore(host)
        detail = "; ".join([str(error), *(f"and while putting back: {failure}" for failure in failures)])
        return ConvergeOutcome(Outcome.ROLLED_BACK, detail, touched, sha256)
    backup.discard(host)
    return ConvergeOutcome(Outcome.APPLIED, detail, touched, sha256)


def recover(host: Host) -> bool:
    """Put back what a change that was cut off had begun; say whether there was one."""
    if not backup.unfinished(host):
        return False
    for failure in backup.restore(host):
        _log.error("while putting back an unfinished change: %s", failure)
    return True


def _find(host: Host, desired: tuple[RenderedFile, ...]) -> dict[str, StoredFile]:
    paths = [file.path for file in desired] + [file.path + TABLE_SUFFIX for file in desired if file.postmap]
    return {path: stored for path in paths if (stored := host.read(path)) is not None}


def _write(host: Host, writes: tuple[RenderedFile, ...], plan: Plan) -> None:
    for file in writes:
        host.write(file.path, StoredFile(file.content, file.owner, file.group, file.mode))
    for path in plan.removed:
        host.remove(path)
    take_up(host, {*(file.path for file in writes), *plan.removed})
    for service in plan.stopped:
        host.stop(service)
    for service, action in plan.actions:
        if action is OnChange.RESTART:
            host.restart(service)
        else:
            host.reload(service)


def _certificate(desired: tuple[RenderedFile, ...]) -> bytes:
    return unpack(next(file.content for file in desired if file.path == layout.TLS_PAIR)).chain_pem
