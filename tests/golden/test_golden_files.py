"""Every rendered file, byte by byte, against the one kept beside this test.

A difference is either a mistake or meant; when it is meant, `python -m tests.golden.render` writes the files anew, and
the commit shows what will change on every server.
"""

import pytest

from tests.golden.render import FOLDER, kept_renderings, rendered
from tests.golden.spec import PLATFORMS


@pytest.mark.parametrize("name", kept_renderings())
def test_renderings_equal_the_kept_files(name: str) -> None:
    now = {file.path.lstrip("/"): file.content.decode() for file in kept_renderings()[name]}
    folder = FOLDER / name
    kept = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}

    assert now == kept


@pytest.mark.parametrize("platform", PLATFORMS)
def test_rendering_twice_gives_the_same_bytes(platform: str) -> None:
    assert rendered(platform) == rendered(platform)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_only_their_daemons_can_read_secrets(platform: str) -> None:
    for file in rendered(platform):
        if b"PRIVATE KEY" in file.content or b"$argon2id$" in file.content:
            assert file.mode & 0o007 == 0, file.path
