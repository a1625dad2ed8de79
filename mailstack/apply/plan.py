"""What has to change, decided without touching anything: the difference between files wanted and files found."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mailstack.apply.host import StoredFile
from mailstack.rendered_file import OnChange, RenderedFile, Service

#: The order in which services take up new files. Dovecot and the milters first: they make the sockets that Postfix
#: connects to, and a milter that is away costs each message a time-out or an unsigned delivery.
ORDER = (Service.OPENDKIM, Service.OPENDMARC, Service.DOVECOT, Service.POSTFIX)

#: What `postmap` appends to the name of a hash table.
TABLE_SUFFIX = ".db"


@dataclass(frozen=True, slots=True)
class Plan:
    """The files to write and to remove, and what each service does then, in order."""

    changed: tuple[RenderedFile, ...]
    removed: tuple[str, ...]
    actions: tuple[tuple[Service, OnChange], ...]

    @property
    def empty(self) -> bool:
        """Whether everything is as it should be."""
        return not (self.changed or self.removed or self.actions)

    @property
    def services(self) -> tuple[Service, ...]:
        """The services whose own files change, in order: those a validator must see first. `postmap` judges tables."""
        concerned = {service for file in self.changed if not file.postmap for service in file.services}
        return tuple(service for service in ORDER if service in concerned)


def make_plan(
    desired: Collection[RenderedFile],
    found: Mapping[str, StoredFile],
    formerly: frozenset[str] | None,
    running: frozenset[Service],
) -> Plan:
    """Compare what is desired with what was found.

    `formerly` holds the paths written last time, or None when nothing was applied on this server before: then a
    running daemon was started with somebody else's files, and only a restart makes it take all of ours.
    """
    changed = tuple(file for file in desired if _differs(file, found))
    removed = tuple(sorted((formerly or frozenset()) - {file.path for file in desired}))
    actions = tuple(
        (service, action)
        for service in ORDER
        if (action := _action(service, changed, started_by_us=formerly is not None, running=service in running))
        is not OnChange.NOTHING
    )
    return Plan(changed, removed, actions)


def _differs(file: RenderedFile, found: Mapping[str, StoredFile]) -> bool:
    wanted = StoredFile(file.content, file.owner, file.group, file.mode)
    return found.get(file.path) != wanted or (file.postmap and file.path + TABLE_SUFFIX not in found)


def _action(service: Service, changed: Collection[RenderedFile], *, started_by_us: bool, running: bool) -> OnChange:
    if not running or not started_by_us:
        return OnChange.RESTART
    asked = {file.on_change for file in changed if service in file.services}
    for action in (OnChange.RESTART, OnChange.RELOAD):
        if action in asked:
            return action
    return OnChange.NOTHING
