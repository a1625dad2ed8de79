"""The journal of a change: what was there before, kept on disk until the change is verified.

    BACKUP/<n>             the content of the n-th file before the change
    BACKUP/manifest.json   written last: with it the backup is whole, and the change may begin;
                           removed first: without it the change is done

Whoever starts and finds a manifest finds a change that was cut off, and puts everything back.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from mailstack.apply.addresses import take_up
from mailstack.apply.desired import STATE
from mailstack.apply.host import CommandFailed, Host, StoredFile
from mailstack.rendered_file import OnChange, Service

_BACKUP = f"{STATE}/backup"
_MANIFEST = f"{_BACKUP}/manifest.json"


@dataclass(frozen=True, slots=True)
class _Before:
    """One file before the change: its attributes, or None for a file that was not there."""

    path: str
    attributes: tuple[str, str, int] | None


def save(
    host: Host,
    paths: Collection[str],
    actions: Sequence[tuple[Service, OnChange]],
    running: frozenset[Service],
) -> None:
    """Keep the files as they are and the services that run, before the first is touched."""
    host.remove_directory(_BACKUP)
    host.make_directory(_BACKUP, "root", "root", 0o700)
    before = [_save_file(host, number, path) for number, path in enumerate(paths)]
    manifest = {
        "files": [asdict(file) for file in before],
        "actions": [(service.value, action.value) for service, action in actions],
        "running": sorted(service.value for service in running),
    }
    host.write(_MANIFEST, StoredFile(json.dumps(manifest).encode(), "root", "root", 0o600))


def discard(host: Host) -> None:
    """Forget what was before: the change is verified."""
    host.remove(_MANIFEST)
    host.remove_directory(_BACKUP)


def restore(host: Host) -> list[str]:
    """Put every file back and let the services take up the old ones; return what did not work, service by service.

    Services that did not run before are stopped.
    """
    manifest = host.read(_MANIFEST)
    if manifest is None:
        return []
    kept = json.loads(manifest.content)
    for number, file in enumerate(kept["files"]):
        _restore_file(host, number, _Before(**file))
    failures = []
    try:
        take_up(host, {file["path"] for file in kept["files"]})
    except CommandFailed as error:
        failures.append(str(error))
    running = {Service(name) for name in kept["running"]}
    for name, action in kept["actions"]:
        try:
            _act(host, Service(name), OnChange(action), ran_before=Service(name) in running)
        except CommandFailed as error:
            failures.append(str(error))
    discard(host)
    return failures


def unfinished(host: Host) -> bool:
    """Whether a change was cut off."""
    return host.read(_MANIFEST) is not None


def _save_file(host: Host, number: int, path: str) -> _Before:
    file = host.read(path)
    if file is None:
        return _Before(path, None)
    host.write(f"{_BACKUP}/{number}", StoredFile(file.content, "root", "root", 0o600))
    return _Before(path, (file.owner, file.group, file.mode))


def _restore_file(host: Host, number: int, before: _Before) -> None:
    if before.attributes is None:
        host.remove(before.path)
        return
    content = host.read(f"{_BACKUP}/{number}")
    if content is None:
        raise FileNotFoundError(f"the backup of {before.path} is gone")
    host.write(before.path, StoredFile(content.content, *before.attributes))


def _act(host: Host, service: Service, action: OnChange, *, ran_before: bool) -> None:
    if not ran_before:
        host.stop(service)
    elif action is OnChange.RELOAD:
        host.reload(service)
    else:
        host.restart(service)
