import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from control_plane.sealing import KEY_BYTES, load_or_create_key


def test_a_key_that_was_cut_short_while_it_was_made_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def powerless(_: int) -> bytes:
        raise OSError("no power")

    path = tmp_path / "sealing.key"
    with monkeypatch.context() as during:
        during.setattr(os, "urandom", powerless)
        with pytest.raises(OSError, match="no power"):
            load_or_create_key(path)
    assert len(load_or_create_key(path)) == KEY_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_all_who_make_a_key_at_once_have_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(load_or_create_key, [tmp_path / "sealing.key"] * 50))
    assert len(keys) == 1
    assert len(keys.pop()) == KEY_BYTES
