import hashlib
import os
import secrets
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailstack.apply.mail_archive import (
    BLOCK,
    BadArchive,
    Packed,
    Tree,
    pack,
    read_block,
    size_of,
    tree_of,
    unpack,
    write_block,
)

KEY = b"k" * 32


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    """A mailbox with flags in names, a message in two folders, and an old date."""
    root = tmp_path / "vhosts"
    cur = root / "acme.example/sales/Maildir/cur"
    cur.mkdir(parents=True)
    (cur.parent / "new").mkdir()
    seen = cur / "1700000000.M1P1.mx,S=11:2,FS"
    seen.write_bytes(b"Subject: 1\n")
    os.utime(seen, (1_700_000_000, 1_700_000_000))
    (cur.parent / ".Orders.2026/cur").mkdir(parents=True)
    (cur.parent / ".Orders.2026/cur/1700000000.M1P1.mx,S=11:2,").hardlink_to(seen)
    (cur.parent / "dovecot-uidlist").write_bytes(secrets.token_bytes(3 * BLOCK))
    return root


def carried(archive: Path, to: Path) -> None:
    """Carry it block by block, the last one first."""
    blocks = -(-archive.stat().st_size // BLOCK)
    for number in reversed(range(blocks)):
        write_block(to, number, read_block(archive, number))
    assert read_block(archive, blocks) == b""


def test_mail_comes_back_bit_by_bit_with_flags_and_dates(mail: Path, tmp_path: Path) -> None:
    archive, arrived, back = tmp_path / "there/sealed", tmp_path / "here/sealed", tmp_path / "new/vhosts"
    packed = pack(mail, archive, KEY)
    carried(archive, arrived)
    unpack(arrived, KEY, back, packed, os.getuid())

    assert tree_of(back) == tree_of(mail) == packed.tree
    assert packed.tree.files == 3
    assert size_of(back) == packed.tree.size
    message = back / "acme.example/sales/Maildir/cur/1700000000.M1P1.mx,S=11:2,FS"
    assert message.stat().st_mtime == 1_700_000_000
    assert (back / "acme.example/sales/Maildir/new").is_dir()
    assert archive.stat().st_mode & 0o777 == 0o600


def test_unpacking_once_more_changes_nothing(mail: Path, tmp_path: Path) -> None:
    packed = pack(mail, tmp_path / "sealed", KEY)
    unpack(tmp_path / "sealed", KEY, tmp_path / "new", packed, os.getuid())
    (tmp_path / "sealed").unlink()
    unpack(tmp_path / "sealed", KEY, tmp_path / "new", packed, os.getuid())
    assert tree_of(tmp_path / "new") == packed.tree


def test_other_mail_that_is_there_is_left_alone(mail: Path, tmp_path: Path) -> None:
    packed = pack(mail, tmp_path / "sealed", KEY)
    other = tmp_path / "new/someone"
    other.parent.mkdir()
    other.write_text("mail")
    with pytest.raises(BadArchive, match="other mail"):
        unpack(tmp_path / "sealed", KEY, tmp_path / "new", packed, os.getuid())
    assert other.read_text() == "mail"


def test_a_server_without_mail_is_kept_as_one(tmp_path: Path) -> None:
    packed = pack(tmp_path / "none", tmp_path / "sealed", KEY)
    unpack(tmp_path / "sealed", KEY, tmp_path / "new", packed, os.getuid())
    assert packed.tree.files == 0
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "sealed").unlink()
    unpack(tmp_path / "sealed", KEY, tmp_path / "new", packed, os.getuid())
    with pytest.raises(BadArchive, match="arrive"):
        unpack(tmp_path / "sealed", KEY, tmp_path / "another", packed, os.getuid())


@pytest.mark.parametrize("harm", ["altered", "cut", "swapped", "another key", "another tree"])
def test_what_is_not_whole_puts_nothing_into_place(mail: Path, tmp_path: Path, harm: str) -> None:
    archive, key = tmp_path / "sealed", KEY
    packed = pack(mail, archive, key)
    content = archive.read_bytes()
    expected = packed
    match harm:
        case "altered":
            archive.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
        case "cut":
            archive.write_bytes(content[: 2 * BLOCK])
        case "swapped":
            archive.write_bytes(content[BLOCK : 2 * BLOCK] + content[:BLOCK] + content[2 * BLOCK :])
        case "another key":
            key = b"x" * 32
        case "another tree":
            expected = Packed(packed.size, packed.sha256, Tree(packed.tree.files, packed.tree.size, "00" * 32))
    if harm in {"altered", "cut", "swapped"}:
        # Whoever altered the archive may have altered what it is said to be.
        expected = Packed(archive.stat().st_size, _sha256(archive), packed.tree)
        with pytest.raises(BadArchive, match="arrive"):
            unpack(archive, key, tmp_path / "new", packed, os.getuid())
    with pytest.raises(BadArchive):
        unpack(archive, key, tmp_path / "new", expected, os.getuid())
    assert not (tmp_path / "new").exists()


def test_a_link_is_not_followed(mail: Path, tmp_path: Path) -> None:
    (mail / "acme.example/passwords").symlink_to("/etc/shadow")
    with pytest.raises(BadArchive, match="neither a file nor a directory"):
        pack(mail, tmp_path / "sealed", KEY)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 2 * BLOCK), more=st.binary(max_size=50))
def test_any_length_comes_back(tmp_path: Path, size: int, more: bytes) -> None:
    ground = tmp_path / secrets.token_hex(8)
    (ground / "mail").mkdir(parents=True)
    (ground / "mail/message").write_bytes(b"x" * size + more)
    packed = pack(ground / "mail", ground / "sealed", KEY)
    unpack(ground / "sealed", KEY, ground / "new", packed, os.getuid())
    assert (ground / "new/message").read_bytes() == b"x" * size + more


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
