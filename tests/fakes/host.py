"""A server in memory, for what mailstack does to one: files, accounts, commands and services that behave.

`postmap` builds a table from the file it is given, validators find what a test plants in `complaints`, and services
remember what they were told. A test reads `files`, `running` and `told`.
"""

import datetime as dt
from collections.abc import Sequence

from mailstack.apply.host import CommandFailed, StoredFile
from mailstack.checking import CommandOutput
from mailstack.rendered_file import Service

_OK = CommandOutput(0, "", "")
_VERSIONS = {"postconf": "3.7.11\n", "dovecot": "2.3.19.1 (9b53102964)\n"}


class PowerCut(BaseException):
    """The process dies on the spot: nothing may catch it."""


class FakeHost:
    """A freshly installed Debian 12: daemons are there, none runs, nothing of ours is written."""

    def __init__(self) -> None:
        self.files: dict[str, StoredFile] = {}
        self.groups: dict[str, set[str]] = {"postfix": {"postfix"}, "root": {"root"}}
        #: Of groups that were made.
        self.group_ids: dict[str, str] = {}
        self.active: set[Service] = set()
        self.enabled: set[Service] = set()
        #: Installed, beside what runs anyway.
        self.programs = {"/usr/sbin/nginx"}
        #: What services were told, in order, such as "restart postfix".
        self.told: list[str] = []
        #: The same, with what systemctl was told otherwise.
        self.commands: list[str] = []
        #: By program: what its validator says, after which it exits with 1.
        self.complaints: dict[str, str] = {}
        #: Services that do not come up.
        self.broken: set[Service] = set()
        #: The process dies when this path is written, or before this program is run.
        self.power_cut_at: str | None = None

    def now(self) -> dt.datetime:
        return dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)

    def run(self, argv: Sequence[str]) -> CommandOutput:
        program = argv[0]
        if program == self.power_cut_at:
            raise PowerCut
        if program in self.complaints:
            return CommandOutput(1, "", self.complaints[program])
        if program == "postmap":
            source = self.files[argv[1].removeprefix("hash:")]
            self.files[argv[1].removeprefix("hash:") + ".db"] = StoredFile(
                b"table of " + source.content, source.owner, source.group, source.mode
            )
        elif program in {"groupadd", "useradd", "usermod"}:
            return self._change_accounts(argv)
        elif program == "systemctl":
            self.commands.append(" ".join(argv[1:]))
        elif "--version" in argv or "mail_version" in argv:
            return CommandOutput(0, _VERSIONS[program], "")
        return _OK

    def _change_accounts(self, argv: Sequence[str]) -> CommandOutput:
        name = argv[-1]
        match argv[0]:
            case "groupadd" if name in self.group_ids:
                return CommandOutput(9, "", f"groupadd: group '{name}' already exists")
            case "groupadd":
                self.group_ids[name] = argv[-2]
            case "useradd" if argv[argv.index("--gid") + 1] not in self.group_ids.values():
                return CommandOutput(6, "", "useradd: there is no such group")
            case "useradd":
                self.groups[name] = {name}
            case "usermod":
                self.groups[name].update(argv[-2].split(","))
        return _OK

    def read(self, path: str) -> StoredFile | None:
        return self.files.get(path)

    def exists(self, path: str) -> bool:
        return path in self.files or path in self.programs

    def write(self, path: str, file: StoredFile) -> None:
        if path == self.power_cut_at:
            raise PowerCut
        self.files[path] = file

    def remove(self, path: str) -> None:
        self.files.pop(path, None)

    def make_directory(self, path: str, owner: str, group: str, mode: int) -> None:
        """Directories are made by the files in them."""

    def remove_directory(self, path: str) -> None:
        self.files = {name: file for name, file in self.files.items() if not name.startswith(f"{path}/")}

    def groups_of(self, user: str) -> frozenset[str] | None:
        return frozenset(self.groups[user]) if user in self.groups else None

    def running(self, services: Sequence[Service]) -> frozenset[Service]:
        return frozenset(self.active.intersection(services))

    def enable(self, services: Sequence[Service]) -> None:
        self.enabled.update(services)

    def disable(self, service: Service) -> None:
        self.enabled.discard(service)

    def restart(self, service: Service) -> None:
        self._tell(f"restart {service.value}")
        self.active.discard(service)
        self._come_up(service)

    def reload(self, service: Service) -> None:
        self._tell(f"reload {service.value}")
        self._come_up(service)

    def stop(self, service: Service) -> None:
        self._tell(f"stop {service.value}")
        self.active.discard(service)

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.commands.append(what)

    def _come_up(self, service: Service) -> None:
        if service in self.broken:
            raise CommandFailed(["systemctl", service.value], CommandOutput(1, "", "it does not start"))
        self.active.add(service)
