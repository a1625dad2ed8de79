"""All files of one server, from its spec: every renderer's, and the served certificate."""

import hashlib
import json
from collections.abc import Collection

from mailstack import layout
from mailstack.addresses.render import render as render_addresses
from mailstack.apply.host import Host, must_run
from mailstack.backups.render import render_order as render_backup_order
from mailstack.certificates import self_signed
from mailstack.certificates.pair import Pair, unpack
from mailstack.certificates.render import render_order, render_pair
from mailstack.dovecot.render import render as render_dovecot
from mailstack.nginx.render import PROGRAM as NGINX_PROGRAM
from mailstack.nginx.render import render as render_nginx
from mailstack.opendkim.render import render as render_opendkim
from mailstack.opendmarc.render import render as render_opendmarc
from mailstack.postfix.render import render as render_postfix
from mailstack.rendered_file import RenderedFile
from mailstack.spec import MailServerSpec, Platform

#: The root half's own state: staging, the journal of an unfinished change, the record of what was applied.
STATE = "/var/lib/penguin-configure"
RECORD = f"{STATE}/applied.json"

_RENDERERS = (render_addresses, render_opendkim, render_opendmarc, render_dovecot, render_postfix)


def look_at_platform(host: Host) -> Platform:
    """Ask the installed daemons for their versions; raise `CommandFailed` when one is not there."""
    return Platform(
        postfix=_version(host, ("postconf", "-h", "mail_version")), dovecot=_version(host, ("dovecot", "--version"))
    )


def desired_files(spec: MailServerSpec, host: Host) -> tuple[RenderedFile, ...]:
    """Return every file the server should have, the record of them included.

    The certificate that is served stays while it is good; otherwise a new one is made. A server that has no nginx shows
    no policies, and its mail does without: whoever looks at them is told that nobody answers.
    """
    platform = look_at_platform(host)
    web = render_nginx(spec, platform) if host.exists(NGINX_PROGRAM) else ()
    files = [
        render_pair(_served(spec, host), web=bool(web)),
        *render_order(spec),
        *render_backup_order(spec),
        *(file for render in _RENDERERS for file in render(spec, platform)),
        *web,
    ]
    record = json.dumps({file.path: digest([file]) for file in files}, indent=1, sort_keys=True).encode()
    return (*files, RenderedFile(RECORD, record, (), mode=0o600))


def recorded_paths(host: Host) -> frozenset[str] | None:
    """Return the paths of the files applied last, or None when nothing was applied here yet."""
    record = host.read(RECORD)
    return frozenset(json.loads(record.content)) if record else None


def drifted_paths(host: Host) -> tuple[str, ...]:
    """Return the files that are not as they were applied last: changed in content, owner or mode, or missing.

    It reads the files and nothing else. The certificate that is served is renewed in its own time, so it can only be
    missing. A record of before hashes were kept in it tells of no drift.
    """
    record = host.read(RECORD)
    applied = json.loads(record.content) if record else {}
    if not isinstance(applied, dict):
        return ()
    return tuple(path for path, sha256 in sorted(applied.items()) if _is_drifted(host, path, sha256))


def digest(files: Collection[RenderedFile]) -> str:
    """Return SHA-256 over path, owner, mode and content of every file, in hex.

    What the served certificate holds is left out: it is renewed in its own time.
    """
    total = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path):
        content = b"" if file.path == layout.TLS_PAIR else file.content
        total.update(f"{file.path}\0{file.owner}:{file.group}\0{file.mode:o}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def _is_drifted(host: Host, path: str, sha256: str) -> bool:
    found = host.read(path)
    if found is None or path == layout.TLS_PAIR:
        return found is None
    return (
        digest([RenderedFile(path, found.content, (), owner=found.owner, group=found.group, mode=found.mode)]) != sha256
    )


def _served(spec: MailServerSpec, host: Host) -> Pair:
    present = host.read(layout.TLS_PAIR)
    if present and self_signed.still_serves(present.content, spec.hostname, host.now()):
        return unpack(present.content)
    return self_signed.make(spec.hostname, host.now())


def _version(host: Host, argv: tuple[str, ...]) -> tuple[int, int]:
    major, minor = must_run(host, argv).stdout.split()[0].split(".")[:2]
    return int(major), int(minor)
