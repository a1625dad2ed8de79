"""What is kept about this server's identity survives a crash at any moment and is closed to others."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.identity.store import DamagedIdentity, Enrolment, IdentityStore, write_atomically


@pytest.fixture
def store(tmp_path: Path) -> IdentityStore:
    return IdentityStore(tmp_path / "identity")


def test_what_was_saved_is_loaded(store: IdentityStore) -> None:
    enrolment = Enrolment(b"certificate", b"authorities", "hub.example:7444", "vps-1")
    store.save(enrolment)
    assert store.load() == enrolment


def test_folder_and_files_are_closed_to_others(store: IdentityStore) -> None:
    store.save(Enrolment(b"", b"", "hub.example:7444", "vps-1"))
    folder = store.key_file.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_write_that_was_cut_short_is_swept_away_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".file.new").write_bytes(b"half of")
    write_atomically(tmp_path / "file", b"whole", 0o600)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"whole"


@given(st.one_of(st.binary(), st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())))
def test_anything_else_is_damage(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    store = IdentityStore(tmp_path_factory.mktemp("identity"))
    (store.key_file.parent / "enrolment.json").write_bytes(content)
    with pytest.raises(ValueError):  # noqa: PT011 - DamagedIdentity or a decoding error, both ValueError
        store.load()


def test_a_missing_field_is_damage(store: IdentityStore) -> None:
    (store.key_file.parent / "enrolment.json").write_text("{}")
    with pytest.raises(DamagedIdentity):
        store.load()
