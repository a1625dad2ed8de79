"""Releases: a wheelhouse kept under a name of its own, its manifest signed, for servers to be upgraded to.

The key that signs is made for the one manifest and forgotten; the authority that servers pin certifies it for releases.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.enrolment.authority import Authority
from control_plane.errors import InvalidInput, NotFound
from db.by_time import Place, newest_first
from db.models import Release

_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """A release whose files the downloads door can serve."""

    name: str
    version: str
    manifest: bytes


def store_release(wheelhouse: Path, releases_dir: Path) -> StoredRelease:
    """Copy a wheelhouse's manifest and wheels to where releases are served, and return what it is.

    Raises `InvalidInput` when it is none, or a wheel is not what the manifest says.
    """
    try:
        manifest = (wheelhouse / _MANIFEST).read_bytes()
        document = json.loads(manifest)
        version, wheels = str(document["version"]), {each["name"]: each["sha256"] for each in document["wheels"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{wheelhouse} holds no wheelhouse: {error}") from error
    # As servers name it (agent/units/bootstrap.py).
    name = f"{version}-{hashlib.sha256(manifest).hexdigest()[:12]}"
    if not (releases_dir / name).is_dir():
        releases_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=releases_dir, prefix=".new-") as folder:
            draft = Path(folder) / name
            draft.mkdir(mode=0o755)
            (draft / _MANIFEST).write_bytes(manifest)
            for wheel, sha256 in wheels.items():
                shutil.copyfile(wheelhouse / wheel, draft / wheel)
                if hashlib.sha256((draft / wheel).read_bytes()).hexdigest() != sha256:
                    raise InvalidInput(f"{wheel} is not what the manifest says")
            draft.rename(releases_dir / name)
    return StoredRelease(name, version, manifest)


async def add_release(session: AsyncSession, authority: Authority, stored: StoredRelease) -> str:
    """Sign and offer a release (system role), and return its name; one that is offered already stays as it is."""
    signed = authority.sign_release(stored.manifest)
    row = {
        "name": stored.name,
        "version": stored.version,
        "manifest": stored.manifest,
        "manifest_sha256": hashlib.sha256(stored.manifest).hexdigest(),
        "signature": signed.signature,
        "certificate": signed.certificate_der,
    }
    await session.execute(insert(Release).values(row).on_conflict_do_nothing())
    return stored.name


async def list_releases(
    session: AsyncSession, after: Place | None = None, limit: int | None = None
) -> Sequence[Release]:
    """Return a page of releases, newest first; without a limit, all."""
    query = newest_first(select(Release), Release.created_at, Release.name, after)
    return (await session.scalars(query.limit(limit))).all()


async def find_release(session: AsyncSession, version: str) -> Release:
    """Return the release of that name, or the newest of that version. Raises `NotFound`."""
    named = select(Release).where((Release.name == version) | (Release.version == version))
    found = await session.scalar(named.order_by((Release.name == version).desc(), Release.created_at.desc()).limit(1))
    if found is None:
        raise NotFound(f"There is no release {version}.")
    return found
