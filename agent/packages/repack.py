"""Makes a package again of what is installed of it, as the way back: package sources drop a version that has another.

Files, owners and modes are those on the disk, and its scripts those that dpkg keeps.
"""

import os
import shutil
import stat
import tempfile
from pathlib import Path

from agent.packages.commands import run
from agent.upgrade.carry_out import Refused

#: Seconds for a program.
_PATIENCE = 120.0
#: What dpkg adds to a package's own description.
_ADDED_FIELDS = ("Status:", "Conffiles:", "Config-Version:")


def repack(package: str, target: Path) -> None:
    """Write the installed version of a package to `target`. Raises `Refused`."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".tree-") as folder:
        tree = Path(folder)
        tree.chmod(0o755)
        for path in listed_paths(_said("dpkg-query", "--listfiles", package)):
            copy_into(tree, path)
        control = tree / "DEBIAN"
        control.mkdir()
        (control / "control").write_text(own_fields(_said("dpkg-query", "--status", package)))
        for kept in map(Path, _said("dpkg-query", "--control-path", package).split()):
            shutil.copy(kept, control / kept.suffix.removeprefix("."))
        _drop_missing(control / "conffiles", tree)
        _said("dpkg-deb", "-Zgzip", "-z1", "--build", folder, str(target))


def listed_paths(output: str) -> list[Path]:
    """Return what a package has on the disk, folders before what is in them, from dpkg-query's list.

    A folder may be a link there (/lib), under which other files are listed.
    """
    paths = [Path(line) for line in output.splitlines() if line.startswith("/") and line != "/."]
    above = {parent for path in paths for parent in path.parents}
    return [path for path in paths if path not in above and (path.is_symlink() or path.exists())]


def own_fields(status: str) -> str:
    """Return a package's description as its maintainer wrote it, from what dpkg keeps."""
    kept: list[str] = []
    dropping = False
    for line in status.splitlines():
        if not line.startswith(" "):
            dropping = line.startswith(_ADDED_FIELDS)
        if line and not dropping:
            kept.append(line)
    return "\n".join(kept) + "\n"


def copy_into(tree: Path, path: Path) -> None:
    """Copy a file, link or empty folder to its place in the tree, with owner and mode, and the folders above it."""
    target = tree / path.relative_to("/")
    for parent in reversed(path.parents[:-1]):
        _make_folder(tree / parent.relative_to("/"), parent)
    if path.is_dir() and not path.is_symlink():
        _make_folder(target, path)
        return
    shutil.copy2(path, target, follow_symlinks=False)
    _own(target, path)


def _drop_missing(conffiles: Path, tree: Path) -> None:
    """Take configuration off the list that somebody has deleted, which no package may name (deb-conffiles(5))."""
    if conffiles.is_file():
        lines = conffiles.read_text().splitlines(keepends=True)
        conffiles.write_text("".join(line for line in lines if os.path.lexists(f"{tree}{line.split()[-1]}")))


def _make_folder(target: Path, source: Path) -> None:
    if not target.is_dir():
        target.mkdir()
        _own(target, source.resolve())


def _own(target: Path, source: Path) -> None:
    found = source.lstat()
    os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)
    if not source.is_symlink():
        # After the owner, whose change takes set-id bits away.
        target.chmod(stat.S_IMODE(found.st_mode))


def _said(*argv: str) -> str:
    output = run(argv, _PATIENCE)
    if output.exit_code:
        raise Refused(f"{' '.join(argv[:3])}: {output.last_words}")
    return output.stdout
