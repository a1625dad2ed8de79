"""Put the new files aside and let each daemon's own validator judge them before any replaces what is in use."""

import re
from collections.abc import Callable, Collection
from dataclasses import replace

from mailstack.apply.desired import STATE
from mailstack.apply.host import Host, StoredFile
from mailstack.apply.plan import TABLE_SUFFIX, Plan
from mailstack.checking import CommandOutput
from mailstack.dovecot import check as dovecot
from mailstack.nginx import check as nginx
from mailstack.opendkim import check as opendkim
from mailstack.opendmarc import check as opendmarc
from mailstack.postfix import check as postfix
from mailstack.rendered_file import RenderedFile, Service

_ROOT = f"{STATE}/staging"

#: By service: the commands for files staged below a root, and the reading of their output.
_CHECKS: dict[Service, tuple[Callable[[str], tuple[tuple[str, ...], ...]], Callable[[CommandOutput], str | None]]] = {
    Service.POSTFIX: (postfix.commands, postfix.complaint),
    Service.DOVECOT: (dovecot.commands, dovecot.complaint),
    Service.OPENDKIM: (opendkim.commands, opendkim.complaint),
    Service.OPENDMARC: (opendmarc.commands, opendmarc.complaint),
    Service.NGINX: (nginx.commands, nginx.complaint),
}


class Refused(Exception):
    """A daemon's validator refused the files; the message has its words. Nothing was replaced."""


def stage_and_check(host: Host, desired: Collection[RenderedFile], plan: Plan) -> tuple[RenderedFile, ...]:
    """Return what is to be written: the changed files and the tables that `postmap` built from them.

    Raise `Refused` when a validator complains. Staging is empty again afterwards, for it held keys.
    """
    host.remove_directory(_ROOT)
    try:
        host.make_directory(STATE, "root", "root", 0o711)
        _stage(host, desired, plan)
        tables = tuple(_build_table(host, file) for file in plan.changed if file.postmap)
        for service in plan.services:
            _check(host, service)
    finally:
        host.remove_directory(_ROOT)
    return (*plan.changed, *tables)


def _stage(host: Host, desired: Collection[RenderedFile], plan: Plan) -> None:
    """Write aside what the validators will read, each mention of a managed path leading to the staged file."""
    concerned = {*plan.services}
    longest_first = sorted((file.path for file in desired), key=len, reverse=True)
    managed = re.compile("|".join(re.escape(path) for path in longest_first).encode())
    for file in desired:
        if file in plan.changed or not concerned.isdisjoint(file.services):
            content = managed.sub(lambda match: _ROOT.encode() + match.group(), file.content)
            host.write(_ROOT + file.path, StoredFile(content, file.owner, file.group, file.mode))


def _build_table(host: Host, file: RenderedFile) -> RenderedFile:
    argv = ("postmap", f"hash:{_ROOT}{file.path}")
    output = host.run(argv)
    built = host.read(_ROOT + file.path + TABLE_SUFFIX)
    if output.exit_code or output.stderr or built is None:
        raise Refused(f"postmap {file.path}: {output.last_words}")
    return replace(file, path=file.path + TABLE_SUFFIX, content=built.content, postmap=False)


def _check(host: Host, service: Service) -> None:
    commands, complaint = _CHECKS[service]
    for argv in commands(_ROOT):
        wrong = complaint(host.run(argv))
        if wrong:
            raise Refused(f"{service.value}: {wrong}")
