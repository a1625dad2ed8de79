import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent.configuration.keep_mail import MailKeeper
from agent.configuration.told import Refused, Told
from mailstack.apply.host import CommandFailed
from mailstack.checking import CommandOutput
from mailstack.rendered_file import Service
from protos.agent.v1 import commands_pb2 as wire
from tests.fakes.host import FakeHost

KEY = b"k" * 32


class MailHost(FakeHost):
    """A mail server that runs, with so many messages in its queue."""

    def __init__(self, queued: int = 0) -> None:
        super().__init__()
        self.active = {Service.POSTFIX, Service.DOVECOT}
        self.queued = queued

    def run(self, argv: Sequence[str]) -> CommandOutput:
        if argv[0] == "postqueue":
            assert Service.POSTFIX not in self.active
            return CommandOutput(0, '{"queue_name": "deferred"}\n' * self.queued, "")
        return super().run(argv)


@pytest.fixture
def old(tmp_path: Path) -> MailKeeper:
    mailbox = tmp_path / "old/mail/acme.example/sales/Maildir/cur"
    mailbox.mkdir(parents=True)
    (mailbox / "1.M1.mx:2,S").write_bytes(b"Subject: 1\n\nHello.\n" * 20_000)
    return MailKeeper(tmp_path / "old/mail", tmp_path / "old/sealed", os.getuid())


def packing(key: bytes = KEY, most_size: int = 1 << 30) -> wire.Command:
    return wire.Command(keep_mail=wire.KeepMail(pack=wire.PackMail(key=key, most_size=most_size)))


def pack(keeper: MailKeeper, host: MailHost) -> dict[str, int | str]:
    told = keeper(packing(), host)
    assert isinstance(told, Told)
    packed: dict[str, int | str] = json.loads(told.output)
    return packed


def test_mail_is_packed_by_a_server_that_stands_still_and_comes_back_on_another(
    old: MailKeeper, tmp_path: Path
) -> None:
    host = MailHost()
    packed = pack(old, host)
    assert host.active == set()
    check = wire.CheckPackedMail(tree_sha256=str(packed["tree_sha256"]))
    old(wire.Command(keep_mail=wire.KeepMail(check=check)), host)

    new = MailKeeper(tmp_path / "new/mail", tmp_path / "new/sealed", os.getuid())
    for number in range(-(-int(packed["size"]) // (192 * 1024))):
        told = old(wire.Command(keep_mail=wire.KeepMail(read_block=number)), host)
        assert isinstance(told, Told)
        assert len(told.output) <= 256 * 1024
        block = wire.WriteMailBlock(number=number, block=base64.b64decode(told.output))
        new(wire.Command(keep_mail=wire.KeepMail(write_block=block)), host)
    unpacking = wire.UnpackMail(
        key=KEY,
        size=int(packed["size"]),
        sha256=str(packed["sha256"]),
        files=int(packed["files"]),
        tree_size=int(packed["tree_size"]),
        tree_sha256=str(packed["tree_sha256"]),
    )
    new(wire.Command(keep_mail=wire.KeepMail(unpack=unpacking)), FakeHost())
    message = "acme.example/sales/Maildir/cur/1.M1.mx:2,S"
    assert (new.root / message).read_bytes() == (old.root / message).read_bytes()
    assert not new.archive.exists()


def test_a_queue_that_is_not_empty_has_everything_go_on(old: MailKeeper) -> None:
    host = MailHost(queued=2)
    with pytest.raises(CommandFailed, match="still has 2 messages"):
        old(packing(), host)
    assert {Service.POSTFIX, Service.DOVECOT} <= host.active
    assert not old.archive.exists()


def test_more_mail_than_is_kept_stops_nothing(old: MailKeeper) -> None:
    host = MailHost()
    with pytest.raises(Refused, match="at most 1,000"):
        old(packing(most_size=1_000), host)
    assert host.told == []


def test_mail_that_cannot_be_packed_has_everything_go_on(old: MailKeeper) -> None:
    host = MailHost()
    (old.root / "link").symlink_to("/etc/shadow")
    with pytest.raises(Refused, match="neither a file"):
        old(packing(), host)
    assert {Service.POSTFIX, Service.DOVECOT} <= host.active


@pytest.mark.parametrize("change", ["a message", "a service"])
def test_what_changed_after_the_packing_is_seen(old: MailKeeper, change: str) -> None:
    host = MailHost()
    packed = pack(old, host)
    if change == "a message":
        (old.root / "acme.example/sales/Maildir/cur/2.M2.mx:2,").write_text("late")
    else:
        host.active.add(Service.DOVECOT)
    check = wire.CheckPackedMail(tree_sha256=str(packed["tree_sha256"]))
    with pytest.raises(Refused, match="changed"):
        old(wire.Command(keep_mail=wire.KeepMail(check=check)), host)


def test_giving_up_forgets_the_archive_and_starts_the_services(old: MailKeeper) -> None:
    host = MailHost()
    pack(old, host)
    old(wire.Command(keep_mail=wire.KeepMail(discard=wire.DiscardPackedMail())), host)
    assert {Service.POSTFIX, Service.DOVECOT} <= host.active
    assert not old.archive.exists()


@pytest.mark.parametrize(
    "step",
    [
        wire.KeepMail(),
        wire.KeepMail(pack=wire.PackMail(key=b"short")),
        wire.KeepMail(read_block=1 << 60),
        wire.KeepMail(write_block=wire.WriteMailBlock(number=1 << 60)),
        wire.KeepMail(write_block=wire.WriteMailBlock(block=b"x" * (192 * 1024 + 1))),
        wire.KeepMail(unpack=wire.UnpackMail()),
    ],
)
def test_what_is_no_step_is_refused(old: MailKeeper, step: wire.KeepMail) -> None:
    host = MailHost()
    with pytest.raises(Refused):
        old(wire.Command(keep_mail=step), host)
    assert host.told == []
