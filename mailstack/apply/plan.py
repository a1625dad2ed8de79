"""What has to change, decided without touching anything: the difference between files wanted and files found."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mailstack.apply.host import StoredFile
from mailstack.nginx import render as nginx
from mailstack.rendered_file import OnChange, RenderedFile, Service

#: The order in which services take up new files. Dovecot and the milters first: they make the sockets that Postfix
#: connects to, and a milter that is away costs each message a time-out or an unsigned delivery.
ORDER = (Service.OPENDKIM, Service.OPENDMARC, Service.DOVECOT, Service.POSTFIX)
#: Beside those of the mail server, which are always there, what runs only while it has files.
EVERY = (*ORDER, Service.NGINX)
_RUNS_FOR = {Service.NGINX: nginx.CONFIGURATION}

#: What `postmap` appends to the name of a hash table.
TABLE_SUFFIX = ".db"


@dataclass(frozen=True, slots=True)
class Plan:
    """The files to write and to remove, and what each service does then, in order."""

    changed: tuple[RenderedFile, ...]
    removed: tuple[str, ...]
    actions: tuple[tuple[Service, OnChange], ...]
    #: Services that run and have no files of ours any more.
    stopped: tuple[Service, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether everything is as it should be."""
        return not (self.changed or self.removed or self.actions or self.stopped)

    @property
    def undone_by(self) -> tuple[tuple[Service, OnChange], ...]:
        """What each service does once its files from before are back."""
        return (*self.actions, *((service, OnChange.RESTART) for service in self.stopped))

    @property
    def services(self) -> tuple[Service, ...]:
        """The services whose own files change, in order: those a validator must see first. `postmap` judges tables."""
        concerned = {service for file in self.changed if not file.postmap for service in file.services}
        return tuple(service for service in EVERY if service in concerned)


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
        for service in wanted_services(desired)
        if (action := _action(service, changed, started_by_us=formerly is not None, running=service in running))
        is not OnChange.NOTHING
    )
    # One that never had a file of ours is somebody else's.
    stopped = tuple(service for service, path in _RUNS_FOR.items() if path in removed and service in running)
    return Plan(changed, removed, actions, stopped)


def wanted_services(desired: Collection[RenderedFile]) -> tuple[Service, ...]:
    """Return the services that are to run, in order."""
    have_files = {service for file in desired for service in file.services}
    return tuple(service for service in EVERY if service in ORDER or service in have_files)


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
