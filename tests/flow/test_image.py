"""Baking an image, with a stand-in for mmdebstrap: whole or not at all, and once."""

import concurrent.futures
import os
from pathlib import Path

import pytest

from control_plane.providers.base import ProviderError
from control_plane.providers.local.image import bake, image_root
from control_plane.providers.local.recipes import Recipe

RECIPE = Recipe(name="test", suite="bookworm", packages=("one", "two"), files=(("/etc/own.conf", "own\n"),))

WORKS = """\
#!/bin/sh
for root; do :; done
mkdir -p "$root/etc/ssh"
echo builder > "$root/etc/hostname"
echo key > "$root/etc/ssh/ssh_host_ed25519_key"
echo run >> "$(dirname "$0")/runs"
echo "0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded."
echo "Get:1 one"
echo "Unpacking one"
echo "Setting up one"
"""
FAILS = "#!/bin/sh\necho 'E: no such package' >&2\nexit 25\n"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return tmp_path / "images"


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "mmdebstrap").write_text(script)
    (folder / "mmdebstrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "runs"


def test_an_image_is_baked_with_its_files_and_without_the_builders(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, WORKS)
    said: list[str] = []
    root = bake(RECIPE, images, said.append)
    assert root == image_root(RECIPE, images)
    assert (root / "etc/own.conf").read_text() == "own\n"
    assert (root / "etc/machine-id").read_text() == ""
    assert not (root / "etc/hostname").exists()
    assert not list((root / "etc/ssh").iterdir())
    assert said[0].startswith("0%")
    assert said[-1] == "100% baked"


def test_two_that_start_at_once_share_one_bake(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = stand_in(tmp_path, monkeypatch, WORKS)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        bakes = [pool.submit(bake, RECIPE, images, lambda _line: None) for _ in range(4)]
    assert {each.result() for each in bakes} == {image_root(RECIPE, images)}
    assert runs.read_text() == "run\n"


def test_a_bake_that_fails_leaves_no_image_and_says_why(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, FAILS)
    with pytest.raises(ProviderError, match="E: no such package"):
        bake(RECIPE, images, lambda _line: None)
    assert not [each for each in images.iterdir() if each.is_dir()]
    stand_in(tmp_path, monkeypatch, WORKS)
    assert bake(RECIPE, images, lambda _line: None).exists()


def test_what_a_killed_bake_left_is_removed_by_the_next(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, WORKS)
    unfinished = images / f"{RECIPE.digest}.unfinished"
    (unfinished / "root/etc").mkdir(parents=True)
    (unfinished / "root/etc/half").touch()
    root = bake(RECIPE, images, lambda _line: None)
    assert not (root / "etc/half").exists()
    assert not unfinished.exists()
