"""What one server needs to join: a new token, the pinned authority, and the release that it is to run."""

import asyncio
import hashlib
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.enrolment.authority import Authority
from control_plane.enrolment.tokens import JOIN_TOKEN_TTL, create_join_token
from control_plane.provisioning.cloud_init import JoinData
from control_plane.sealing import Sealer
from control_plane.settings import Settings


@dataclass(frozen=True, slots=True)
class Release:
    """What the downloads door serves now."""

    manifest_sha256: str
    bootstrap_source: str


async def read_release(directory: Path) -> Release:
    """Read a wheelhouse. Raises `OSError` when there is none."""
    manifest, bootstrap = await asyncio.to_thread(_read, directory)
    return Release(hashlib.sha256(manifest).hexdigest(), bootstrap)


async def make_join_data(
    session: AsyncSession,
    settings: Settings,
    sealer: Sealer,
    release: Release,
    *,
    tenant_id: uuid.UUID,
    vps_id: uuid.UUID,
    hostname: str,
    token_life: timedelta = JOIN_TOKEN_TTL,
) -> JoinData:
    """Return it with a token of its own, which is good once and for so long."""
    authority = await Authority.load_or_create(session, sealer, settings.trust_domain)
    return JoinData(
        hostname=hostname,
        enrol_endpoint=settings.enrol_endpoint,
        downloads_url=f"https://{settings.downloads_endpoint}",
        join_token=await create_join_token(session, tenant_id, vps_id, token_life),
        authority_pem=authority.certificate_pem.decode(),
        manifest_sha256=release.manifest_sha256,
        bootstrap_source=release.bootstrap_source,
    )


def _read(directory: Path) -> tuple[bytes, str]:
    return (directory / "manifest.json").read_bytes(), (directory / "bootstrap.py").read_text()
