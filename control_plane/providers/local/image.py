"""Bakes the image that all local servers share, once.

`bake` runs mmdebstrap into a folder beside the final one and renames it when it is whole: an image that exists is
complete. Two that start at once share one bake, by a lock. The image is the read-only lower layer of each server's
disk and is never changed after.

SECURITY: needs root. Packages are verified by apt against the machine's Debian archive keys.
"""

import contextlib
import fcntl
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from control_plane.providers.base import ProviderError
from control_plane.providers.local.bake_progress import BakeProgress
from control_plane.providers.local.commands import run
from control_plane.providers.local.mounts import unmount_below
from control_plane.providers.local.recipes import Recipe

Progress = Callable[[str], None]

#: What the machine that bakes leaves in a root, and what each server must make for itself.
_LEFT_BY_BAKING = ("etc/hostname", "etc/resolv.conf", "etc/dpkg/dpkg.cfg.d/99mmdebstrap")
#: Nobody reads them on a server; they are a sixth of the image and of the time.
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/doc/*")
_LAST_WORDS = 10


def image_root(recipe: Recipe, images_dir: Path) -> Path:
    """Where the root of the recipe's image is, once baked."""
    return images_dir / recipe.digest / "root"


def bake(recipe: Recipe, images_dir: Path, progress: Progress) -> Path:
    """Return the root of the recipe's image; bake it first if there is none, in one to two minutes.

    `progress` gets a line at each whole percent and change of activity. Raises `ProviderError` with mmdebstrap's last
    lines when the bake fails.
    """
    root = image_root(recipe, images_dir)
    if root.exists():
        return root
    images_dir.mkdir(parents=True, exist_ok=True)
    with _locked(images_dir / f"{recipe.digest}.lock", progress):
        if not root.exists():
            _bake_beside(recipe, root, progress)
    return root


@contextlib.contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for the bake that is under way")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _bake_beside(recipe: Recipe, root: Path, progress: Progress) -> None:
    unfinished = root.parent.with_suffix(".unfinished")
    _remove(unfinished)
    unfinished.mkdir(mode=0o700)
    try:
        _install(recipe, unfinished / "root", progress)
        _finish(recipe, unfinished / "root")
        # renamed last: only a whole image has the final name
        unfinished.rename(root.parent)
    finally:
        _remove(unfinished)
    progress("100% baked")


def _install(recipe: Recipe, root: Path, progress: Progress) -> None:
    arguments = [
        # a bake does not outlive the process that asked for it
        *("setpriv", "--pdeathsig", "TERM", "mmdebstrap", "--verbose", "--mode=root", "--format=directory"),
        *("--variant=minbase", f"--include={','.join(recipe.packages)}"),
        '--aptopt=APT::Install-Recommends "false"',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
        *(recipe.suite, str(root)),
    ]
    last_lines: list[str] = []
    state = BakeProgress()
    progress(f"0% {state.doing}")
    with subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as baking:
        for line in baking.stdout or ():
            last_lines = [*last_lines, line][-_LAST_WORDS:]
            before, state = state, state.after(line)
            if (before.percent, before.doing) != (state.percent, state.doing):
                progress(f"{state.percent}% {state.doing}")
    if baking.returncode != 0:
        raise ProviderError(f"mmdebstrap failed ({baking.returncode}):\n{''.join(last_lines)}")


def _finish(recipe: Recipe, root: Path) -> None:
    for name in _LEFT_BY_BAKING:
        (root / name).unlink(missing_ok=True)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("")
    for name, content in recipe.files:
        (root / name.lstrip("/")).write_text(content)
    for command in recipe.commands:
        run(["chroot", str(root), *command])


def _remove(unfinished: Path) -> None:
    # never walk into /proc or /sys of a bake that was killed
    unmount_below(unfinished)
    if unfinished.exists():
        shutil.rmtree(unfinished)
