"""One change of release on a server in memory, whole and cut short at each of its acts."""

import contextlib
from pathlib import Path

import pytest

from agent.upgrade.carry_out import CarryingOut, Refused
from agent.upgrade.judge import Look, Patience, Sight, fault_of
from agent.upgrade.order import Files, Order, Progress
from agent.upgrade.states import State

OLD, NEW = "1-old", "2-new"
ORDER = Order(NEW, "what is wanted", Patience(link=10, soak=5))
BACK: Order[str] = Order(NEW)


class Cut(BaseException):
    """The power is gone."""


class FakeServer:
    """Releases by name, one current; `behaves` says how the new one looks."""

    def __init__(self, files: Files[str], folder: Path, behaves: str = "well") -> None:
        self.releases = {"0-older", OLD}
        self.running = OLD
        self.files = files
        self.confirmed = folder / "confirmed"
        self.behaves = behaves
        self.cut_after: int | None = None
        self.acts: list[str] = []

    def _act(self, name: str) -> None:
        self.acts.append(name)
        if self.cut_after is not None and len(self.acts) > self.cut_after:
            raise Cut

    def current(self) -> str:
        return self.running

    def install(self, release: str, wanted: str) -> None:
        assert wanted == ORDER.wanted
        self._act("install")
        if self.behaves == "forged":
            raise Refused("the manifest is not what was signed")
        self.releases.add(release)

    def is_installed(self, release: str) -> bool:
        return release in self.releases

    def switch(self, release: str) -> None:
        self._act(f"switch {release}")
        assert release in self.releases
        self.running = release
        if self.behaves == "is heard of too early":
            self.confirmed.write_text(NEW)

    def look(self, seconds: float) -> Look:
        self._act("look")
        confirmed = self.files.is_confirmed(NEW)
        if self.running == NEW and self.behaves in {"well", "leaks", "crashes late"}:
            self.confirmed.write_text(NEW)
        rss = 512 << 20 if self.behaves == "leaks" and confirmed else 50 << 20
        restarts = 3 if self.behaves == "crashes" or (self.behaves == "crashes late" and confirmed) else 0
        return Look(fault_of(Sight("active", restarts, rss), seconds))

    def settle(self, release: str, previous: str) -> None:
        self._act("settle")
        self.releases &= {release, previous}

    def discard(self, release: str) -> None:
        self.releases.discard(release)


@pytest.fixture
def files(tmp_path: Path) -> Files[str]:
    return Files(tmp_path, lambda raw: str(raw["wanted"]))


def carry_out(server: FakeServer, order: Order[str] = ORDER) -> Progress:
    seconds = map(float, range(10_000))
    return CarryingOut(server, server.files, lambda: next(seconds), lambda _: None).run(order)


def test_a_good_release_stays_and_the_one_before_is_kept(files: Files[str], tmp_path: Path) -> None:
    server = FakeServer(files, tmp_path)
    assert carry_out(server).state is State.INSTALLED
    assert (server.running, server.releases) == (NEW, {OLD, NEW})
    noted = files.progress()
    assert noted is not None
    assert (noted.release, noted.previous, noted.state) == (NEW, OLD, State.INSTALLED)


@pytest.mark.parametrize(
    ("behaves", "words"),
    [
        ("crashes", "it ended 3 times"),
        ("crashes late", "it ended 3 times"),
        ("hangs", "did not hear of it within 10 s"),
        ("leaks", "it grew to 512 MiB"),
    ],
)
def test_a_bad_release_is_gone_again(files: Files[str], tmp_path: Path, behaves: str, words: str) -> None:
    server = FakeServer(files, tmp_path, behaves)
    ended = carry_out(server)
    assert ended.state is State.ROLLED_BACK
    assert words in ended.reason
    assert (server.running, NEW in server.releases) == (OLD, False)


def test_a_word_of_an_earlier_time_does_not_count(files: Files[str], tmp_path: Path) -> None:
    (tmp_path / "confirmed").write_text(NEW)
    assert carry_out(FakeServer(files, tmp_path, "hangs")).state is State.ROLLED_BACK
    assert carry_out(FakeServer(files, tmp_path, "is heard of too early")).state is State.ROLLED_BACK


def test_what_is_not_signed_changes_nothing(files: Files[str], tmp_path: Path) -> None:
    server = FakeServer(files, tmp_path, "forged")
    assert carry_out(server).state is State.REFUSED
    assert server.acts == ["install"]


@pytest.mark.parametrize("behaves", ["well", "crashes", "leaks", "hangs"])
@pytest.mark.parametrize("cut", range(12))
def test_cut_short_anywhere_it_ends_as_it_would_have(files: Files[str], tmp_path: Path, behaves: str, cut: int) -> None:
    server = FakeServer(files, tmp_path, behaves)
    server.cut_after = cut
    try:
        carry_out(server)
    except Cut:
        server.cut_after = None
        carry_out(server)
    expected = NEW if behaves == "well" else OLD
    assert server.running == expected
    noted = files.progress()
    assert noted is not None
    assert noted.state is (State.INSTALLED if behaves == "well" else State.ROLLED_BACK)


@pytest.mark.parametrize("cut", range(12))
def test_cut_short_anywhere_and_its_order_spoilt_nothing_runs_on_that_nobody_watches(
    files: Files[str], tmp_path: Path, cut: int
) -> None:
    server = FakeServer(files, tmp_path)
    server.cut_after = cut
    with contextlib.suppress(Cut):
        carry_out(server)
    server.cut_after = None
    (tmp_path / "order.json").write_bytes(b"")
    before = files.progress()
    assert before is not None

    ended = CarryingOut(server, files).call_off()

    assert not (tmp_path / "order.json").exists()
    if before.state is State.INSTALLED:
        assert (ended, server.running) == (None, NEW)
        return
    assert ended is not None
    assert ended.state is (State.REFUSED if before.state is State.INSTALLING else State.ROLLED_BACK)
    assert ended.reason == "its order cannot be read any more"
    assert (server.running, NEW in server.releases) == (OLD, False)
    told = files.progress()
    assert told is not None
    assert (told.state, told.reason) == (ended.state, ended.reason)


def test_an_order_that_was_spoilt_before_it_was_begun_changes_nothing(files: Files[str], tmp_path: Path) -> None:
    server = FakeServer(files, tmp_path)
    (tmp_path / "order.json").write_bytes(b'{"release"')
    assert CarryingOut(server, files).call_off() is None
    assert (server.acts, list(tmp_path.iterdir())) == ([], [])


def test_the_control_plane_may_want_it_back(files: Files[str], tmp_path: Path) -> None:
    server = FakeServer(files, tmp_path)
    carry_out(server)
    ended = carry_out(server, BACK)
    assert (ended.state, server.running) == (State.ROLLED_BACK, OLD)
    switches = [act for act in server.acts if act.startswith("switch")]
    assert carry_out(server, BACK).state is State.ROLLED_BACK
    assert [act for act in server.acts if act.startswith("switch")] == switches


def test_nothing_is_gone_back_to_that_is_not_kept(files: Files[str], tmp_path: Path) -> None:
    server = FakeServer(files, tmp_path)
    assert carry_out(server, BACK).state is State.REFUSED
    assert server.running == OLD


def test_what_runs_already_is_left_running(files: Files[str], tmp_path: Path) -> None:
    server = FakeServer(files, tmp_path)
    carry_out(server)
    before = list(server.acts)
    assert carry_out(server).state is State.INSTALLED
    assert server.acts == before
