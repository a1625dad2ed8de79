"""The join file: read strictly, and its token overwritten in place."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.settings import Join, SettingsError, forget_join_token, read_join

ENDPOINT = "10.77.0.1:7443"


@pytest.fixture
def join_file(tmp_path: Path) -> Path:
    path = tmp_path / "agent.json"
    path.write_text(json.dumps({"enrol_endpoint": ENDPOINT, "join_token": "s3cret"}))
    return path


def test_endpoint_and_token_are_read(join_file: Path) -> None:
    assert read_join(join_file) == Join(ENDPOINT, "s3cret")


def test_the_token_is_not_shown(join_file: Path) -> None:
    assert "s3cret" not in repr(read_join(join_file))


def test_a_forgotten_token_is_gone_from_the_file_whose_length_and_inode_stay(join_file: Path) -> None:
    before = join_file.stat()
    forget_join_token(join_file)
    assert read_join(join_file) == Join(ENDPOINT, None)
    assert b"s3cret" not in join_file.read_bytes()
    after = join_file.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)


def test_forgetting_twice_changes_nothing(join_file: Path) -> None:
    forget_join_token(join_file)
    once = join_file.read_bytes()
    forget_join_token(join_file)
    assert join_file.read_bytes() == once


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"agent\.json"):
        read_join(tmp_path / "agent.json")


@given(content=st.binary() | st.from_type(dict[str, int]).map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("config") / "agent.json"
    path.write_bytes(content)
    with pytest.raises(SettingsError):
        read_join(path)
