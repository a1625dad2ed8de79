"""Changes of packages on a server whose dpkg, apt and systemd are in memory, whole and cut short at each command."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.packages import machine
from agent.packages.machine import AS_FOUND, NotBack, Packages
from agent.upgrade.carry_out import CarryingOut
from agent.upgrade.judge import Patience
from agent.upgrade.order import Files, Order, Progress
from agent.upgrade.states import State
from mailstack.checking import CommandOutput

WANTED = {"postfix": ("2",), "opendkim": ("2", "1")}
ORDER: Order[machine.Versions] = Order("packages-a", WANTED, Patience(link=30, soak=5))
BACK: Order[machine.Versions] = Order("packages-a")
POSTFIX, OPENDKIM, NGINX = "postfix@-.service", "opendkim.service", "nginx.service"


class Cut(BaseException):
    """The power is gone."""


class FakeSystem:
    """Packages with their versions; a packed one is a file that says its name and version."""

    def __init__(self) -> None:
        self.versions = {"postfix": "1", "opendkim": "1"}
        self.status = dict.fromkeys(self.versions, "installed")
        self.held: set[str] = set()
        self.active = {POSTFIX}
        #: Units that are being started, and how often somebody looks until they run.
        self.starting: dict[str, int] = {}
        #: What the source of packages has.
        self.offered = {"postfix": ["1", "2"]}
        self.touched_too = ""
        #: Packages whose scripts fail, by name and version, and installations that do nothing.
        self.broken: set[tuple[str, str]] = set()
        #: Units that do not come back.
        self.ends: set[str] = set()
        self.locked = False
        self.commands: list[str] = []
        self.cut_after: int | None = None

    def run(self, argv: Sequence[str], seconds: float, folder: Path = Path("/")) -> CommandOutput:
        if self.cut_after is not None and len(self.commands) >= self.cut_after:
            raise Cut
        self.commands.append(" ".join(argv))
        words = [word for word in argv if not word.startswith("-")]
        match argv[0]:
            case "dpkg-query":
                rows = (f"{name}\t{self.versions[name]}\t{self.status[name]}\n" for name in self.versions)
                return CommandOutput(1, "".join(rows), "no packages found matching nginx")
            case "apt-cache":
                rows = (f"{name} | {each} | there\n" for name, versions in self.offered.items() for each in versions)
                return CommandOutput(0, "".join(rows), "")
            case "apt-mark":
                self.held |= set(words[2:])
            case "apt-get" if "--simulate" in argv:
                return CommandOutput(0, self.touched_too + "Inst postfix [1] (2 there [amd64])\n", "")
            case "apt-get" if "download" in argv:
                for name, version in (word.split("=") for word in argv[argv.index("download") + 1 :]):
                    (folder / f"{name}_{version}_amd64.deb").write_text(f"{name} {version}")
            case "apt-get" if "install" in argv:
                return self._install([Path(word) for word in words if word.endswith(".deb")])
            case "systemctl":
                return self._systemctl(words)
        return CommandOutput(0, "", "")

    def _install(self, packed: Sequence[Path]) -> CommandOutput:
        if self.locked:
            return CommandOutput(100, "", "E: Could not get lock")
        for name, version in (path.read_text().split() for path in packed):
            self.versions[name] = version
            self.held.discard(name)
            self.active = self.active - self.ends | {NGINX}
            self.status[name] = "half-configured" if (name, version) in self.broken else "installed"
        return CommandOutput(100 if self.broken else 0, "", "")

    def _systemctl(self, words: Sequence[str]) -> CommandOutput:
        match words[1]:
            case "show":
                blocks = (f"Id={unit}\nActiveState={self._state(unit)}\nNRestarts=0\n" for unit in words[2:])
                return CommandOutput(0, "\n".join(blocks), "")
            case "stop":
                self.active -= set(words[2:])
        return CommandOutput(0, "", "")

    def _state(self, unit: str) -> str:
        if unit in self.starting:
            self.starting[unit] -= 1
            if not self.starting[unit]:
                del self.starting[unit]
                self.active.add(unit)
            return "activating"
        return "active" if unit in self.active else "inactive"

    def repack(self, package: str, target: Path) -> None:
        target.write_text(f"{package} {self.versions[package]}")


class ConfirmedFiles(Files[machine.Versions]):
    """The control plane hears at once of what was installed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, machine.wanted_versions)
        self.confirms = True

    def is_confirmed(self, release: str) -> bool:
        return self.confirms


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSystem:
    made = FakeSystem()
    (tmp_path / "updates").mkdir()
    monkeypatch.setattr(machine, "run", made.run)
    monkeypatch.setattr(machine, "repack", made.repack)
    monkeypatch.setattr(machine, "_DPKG_JOURNAL", tmp_path / "updates")
    monkeypatch.setattr(machine, "_LOOK_PAUSE", 0.0)
    return made


def carry_out(folder: Path, order: Order[machine.Versions] = ORDER, *, is_confirmed: bool = True) -> Progress:
    files, seconds = ConfirmedFiles(folder), map(float, range(10_000))
    files.confirms = is_confirmed
    return CarryingOut(Packages(folder), files, lambda: next(seconds), lambda _: None).run(order)


def noted(folder: Path) -> State:
    progress = ConfirmedFiles(folder).progress()
    assert progress is not None
    return progress.state


def kept(folder: Path) -> set[str]:
    return {each.name for each in (folder / "sets").iterdir()}


def test_good_versions_stay_held_and_only_what_ran_before_runs(system: FakeSystem, tmp_path: Path) -> None:
    ended = carry_out(tmp_path)
    assert (ended.state, ended.previous) == (State.INSTALLED, AS_FOUND)
    assert (system.versions, system.held) == ({"postfix": "2", "opendkim": "1"}, {"postfix", "opendkim"})
    assert system.active == {POSTFIX}
    assert kept(tmp_path) == {AS_FOUND, ORDER.release}
    changed = [command for command in system.commands if command.startswith("apt-get") and command.endswith(".deb")]
    assert [command.count(".deb") for command in changed] == [1]


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("fails", "postfix 2 is half-configured"),
        ("does not run", "postfix@-.service is inactive after 21 s"),
        ("is not heard of", "did not hear of it within 30 s"),
    ],
)
def test_bad_versions_are_gone_again(system: FakeSystem, tmp_path: Path, why: str, words: str) -> None:
    if why == "fails":
        system.broken = {("postfix", "2")}
    if why == "does not run":
        system.ends = {POSTFIX}
    ended = carry_out(tmp_path, is_confirmed=why == "fails")
    assert (ended.state, words in ended.reason) == (State.ROLLED_BACK, True)
    assert (system.versions, system.status["postfix"]) == ({"postfix": "1", "opendkim": "1"}, "installed")
    assert "postfix" in system.held


def test_the_control_plane_may_want_it_back_and_later_changes_lead_back_to_this_one(
    system: FakeSystem, tmp_path: Path
) -> None:
    carry_out(tmp_path)
    assert carry_out(tmp_path, BACK).state is State.ROLLED_BACK
    assert (system.versions["postfix"], Packages(tmp_path).current()) == ("1", AS_FOUND)
    assert carry_out(tmp_path).state is State.INSTALLED
    again: Order[machine.Versions] = Order("packages-b", {"postfix": ("1",)}, ORDER.patience)
    system.offered = {"postfix": ["1"]}
    assert carry_out(tmp_path, again).previous == ORDER.release
    assert kept(tmp_path) == {ORDER.release, "packages-b"}


@pytest.mark.parametrize("looks", [2, 1000])
def test_a_service_that_somebody_restarts_as_it_begins_runs_after(
    system: FakeSystem, tmp_path: Path, looks: int
) -> None:
    system.starting[OPENDKIM] = looks
    ended = carry_out(tmp_path)
    if looks == 2:
        assert (ended.state, system.active) == (State.INSTALLED, {POSTFIX, OPENDKIM})
    else:
        # It is as little there after as it was before.
        assert (ended.state, ended.reason) == (State.ROLLED_BACK, "opendkim.service is activating after 21 s")
    starts = [command for command in system.commands if command.startswith("systemctl start")]
    assert all(OPENDKIM in command for command in starts)


def test_who_is_told_that_it_went_back_finds_its_services_running(system: FakeSystem, tmp_path: Path) -> None:
    carry_out(tmp_path)
    carry_out(tmp_path, BACK)
    starts = [command for command in system.commands if command.startswith("systemctl start")]
    assert starts == [f"systemctl start --no-block {POSTFIX}", f"systemctl start {POSTFIX}"]


def test_nothing_is_touched_for_what_cannot_be_had(system: FakeSystem, tmp_path: Path) -> None:
    system.touched_too = "Inst libssl3 [3.0] (3.1 there [amd64])\n"
    ended = carry_out(tmp_path)
    assert (ended.state, "libssl3 would change" in ended.reason) == (State.REFUSED, True)
    system.offered = {}
    assert "not as 2" in carry_out(tmp_path).reason
    assert system.versions["postfix"] == "1"
    assert not [command for command in system.commands if command.endswith(".deb")]


def test_a_way_back_that_is_barred_is_tried_again(system: FakeSystem, tmp_path: Path) -> None:
    carry_out(tmp_path)
    system.locked = True
    with pytest.raises(NotBack, match="postfix 2 is installed; 1 should be"):
        carry_out(tmp_path, BACK)
    assert noted(tmp_path) is State.ROLLING_BACK
    system.locked = False
    assert carry_out(tmp_path, BACK).state is State.ROLLED_BACK
    assert system.versions["postfix"] == "1"


@pytest.mark.parametrize("is_good", [True, False])
@pytest.mark.parametrize("cut", range(25))
def test_cut_short_anywhere_it_ends_as_it_would_have(
    system: FakeSystem, tmp_path: Path, cut: int, *, is_good: bool
) -> None:
    system.broken = set() if is_good else {("postfix", "2")}
    system.cut_after = cut
    try:
        carry_out(tmp_path)
    except Cut:
        system.cut_after = None
        carry_out(tmp_path)
    assert system.versions["postfix"] == ("2" if is_good else "1")
    assert noted(tmp_path) is (State.INSTALLED if is_good else State.ROLLED_BACK)


def test_dpkg_is_brought_to_an_end_where_it_was_cut_off(system: FakeSystem, tmp_path: Path) -> None:
    (tmp_path / "updates" / "0001").touch()
    carry_out(tmp_path)
    assert [command for command in system.commands if "--configure" in command]
    (tmp_path / "updates" / "0001").unlink()
    system.commands.clear()
    carry_out(tmp_path, BACK)
    assert not [command for command in system.commands if "--configure" in command]
