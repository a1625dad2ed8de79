"""The agent's wheelhouse: what a new server downloads, built once and served by `processes/downloads.py`.

It holds our own wheel, the wheels of `requirements/agent.lock` for the servers' Python, the bootstrap program that
unpacks them, and `manifest.json` with the SHA-256 of each wheel. A server pins the hash of the manifest. It is built in
a folder beside and moved into place whole, and only when what it is made of has changed.
"""

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: What servers run: Debian 12's Python, Ubuntu 24.04's and Debian 13's. Debian 12 has the oldest glibc, 2.36; wheels
#: built for an older one fit too. A server takes what fits its Python (`fits` in the bootstrap).
SERVER_PYTHONS = ("3.11", "3.12", "3.13")
SERVER_PLATFORMS = (*(f"manylinux_2_{minor}_x86_64" for minor in range(36, 16, -1)), "manylinux2014_x86_64")

_PACKAGES = ("agent", "control_plane", "db", "log_lines", "mailstack", "protos")
_BOOTSTRAP = Path("agent/units/bootstrap.py")
_AGENT_LOCK = Path("requirements/agent.lock")
_MANIFEST = "manifest.json"
#: One requirement of a lock: the pin with its hashes, and the marker in between, which is left out.
_LOCKED = re.compile(r"^([A-Za-z0-9._-]+==\S+)(?: *;[^\\\n]*)?((?: *\\\n +--hash=sha256:[0-9a-f]{64})+)", re.MULTILINE)


class WheelhouseFailed(Exception):
    """The wheelhouse cannot be built; the message holds the last words of the program that failed."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a wheelhouse holds. `wheels` maps file names to SHA-256, hex; `inputs_sha256` stands for what it is of."""

    version: str
    wheels: tuple[tuple[str, str], ...]
    inputs_sha256: str

    def as_json(self) -> bytes:
        """Return the content of manifest.json."""
        document = {
            "version": self.version,
            "wheels": [{"name": name, "sha256": sha256} for name, sha256 in self.wheels],
            "inputs_sha256": self.inputs_sha256,
        }
        return json.dumps(document, indent=1).encode()


def build(checkout: Path, wheelhouse: Path) -> Manifest:
    """Return the manifest of an up-to-date wheelhouse, building it first when it is not.

    Takes up to a minute when wheels must be fetched. Raises `WheelhouseFailed`.
    """
    wheelhouse.parent.mkdir(parents=True, exist_ok=True)
    with _only_one_builder(wheelhouse):
        inputs = _inputs_sha256(checkout)
        present = _read_manifest(wheelhouse)
        if present is not None and present.inputs_sha256 == inputs:
            return present
        with tempfile.TemporaryDirectory(dir=wheelhouse.parent, prefix=".wheelhouse-") as folder:
            draft = Path(folder) / "new"
            draft.mkdir(mode=0o755)
            manifest = _fill(checkout, draft, inputs)
            _move_into_place(draft, wheelhouse, Path(folder) / "old")
        return manifest


def requirements_without_markers(lock: str) -> str:
    """Return the lock's requirements with their hashes and without their markers.

    pip judges markers by the Python it runs on; a server's may be an older 3.11, which needs more.
    """
    return "".join(f"{pin} {hashes.lstrip(' ')}\n" for pin, hashes in _LOCKED.findall(lock))


def _fill(checkout: Path, draft: Path, inputs: str) -> Manifest:
    _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(draft)], checkout)
    (own,) = draft.glob("*.whl")
    _download(checkout, draft)
    shutil.copyfile(checkout / _BOOTSTRAP, draft / _BOOTSTRAP.name)
    wheels = tuple((wheel.name, _sha256(wheel)) for wheel in sorted(draft.glob("*.whl")))
    manifest = Manifest(own.name.split("-")[1], wheels, inputs)
    (draft / _MANIFEST).write_bytes(manifest.as_json())
    return manifest


def _download(checkout: Path, draft: Path) -> None:
    locked = requirements_without_markers((checkout / _AGENT_LOCK).read_text())
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write(locked)
        requirements.flush()
        platforms = [option for platform in SERVER_PLATFORMS for option in ("--platform", platform)]
        quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
        what = ["--only-binary=:all:", "--no-deps", "--require-hashes", "-r", requirements.name, "-d", str(draft)]
        for python in SERVER_PYTHONS:
            target = ["--python-version", python, "--implementation", "cp", *platforms]
            _run([sys.executable, "-m", "pip", "download", *quiet, *target, *what], checkout)


def _inputs_sha256(checkout: Path) -> str:
    """Hash the names and contents of everything that the wheelhouse is made of."""
    sources = (path for package in _PACKAGES for path in (checkout / package).rglob("*") if path.is_file())
    described = (checkout / "pyproject.toml", checkout / "README.md", checkout / _AGENT_LOCK)
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted({*sources, *described}):
        if "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(checkout)}\0{_sha256(path)}\n".encode())
    return digest.hexdigest()


def _read_manifest(wheelhouse: Path) -> Manifest | None:
    """Return the manifest of what is there, or None unless it is whole."""
    try:
        document = json.loads((wheelhouse / _MANIFEST).read_bytes())
        wheels = tuple((wheel["name"], wheel["sha256"]) for wheel in document["wheels"])
        if any(_sha256(wheelhouse / name) != sha256 for name, sha256 in wheels):
            return None
        return Manifest(document["version"], wheels, document["inputs_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _move_into_place(draft: Path, wheelhouse: Path, old: Path) -> None:
    """Put the new folder where the old one was; in the instant between, a download is refused and tried again."""
    if wheelhouse.exists():
        wheelhouse.rename(old)
    draft.rename(wheelhouse)


@contextmanager
def _only_one_builder(wheelhouse: Path) -> Iterator[None]:
    with wheelhouse.with_name(f".{wheelhouse.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(command: list[str], directory: Path) -> None:
    result = subprocess.run(
        command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        words = (result.stderr or result.stdout).strip()[-2000:]
        raise WheelhouseFailed(f"{' '.join(command[1:4])} ended with status {result.returncode}: {words}")
