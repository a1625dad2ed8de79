"""`deploy`: what a deployment on hosts of yours is made of (deploy/README.md)."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from control_plane.cli.database import owner_url
from control_plane.cli.output import say
from control_plane.enrolment.authority import Authority, ServerCertificate
from control_plane.enrolment.wheelhouse import build
from control_plane.errors import InvalidInput
from control_plane.processes.credentials import SEALING_KEY, write_credentials
from control_plane.processes.database_roles import give_passwords
from control_plane.processes.places import CHECKOUT
from control_plane.sealing import Sealer
from control_plane.settings import Settings
from db.session import Database

deploy_commands = typer.Typer(no_args_is_help=True, help="Parts of a deployment on hosts of yours.")

Credentials = Annotated[Path, typer.Option(help="The folder of the services' credentials.", file_okay=False)]
_CREDENTIALS = Path("/etc/penguinmails/credentials")


@deploy_commands.command()
def credentials(into: Credentials = _CREDENTIALS) -> None:
    """Give the database's roles passwords, and write for each service the secrets that it needs and no other.

    Reads PENGUIN_DATABASE_URL, the owner's URL of an upgraded database, and PENGUIN_REDIS_URL. What is there is kept.
    """
    redis_url = os.environ.get("PENGUIN_REDIS_URL", "")
    if not redis_url.startswith(("redis://", "rediss://", "unix://")):
        raise InvalidInput("PENGUIN_REDIS_URL must be the URL of the control plane's user of Redis")
    url = owner_url()
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_credentials(into, give_passwords(url, into), redis_url)
    say(f"{into} holds the services' credentials; {into / SEALING_KEY} is needed to read any backup")


@deploy_commands.command()
def wheelhouse(
    into: Annotated[Path, typer.Argument(file_okay=False)] = Path("/var/lib/penguinmails/wheelhouse"),
) -> None:
    """Build what new servers download: the agent's wheels, for the downloads service to serve."""
    manifest = build(CHECKOUT, into.absolute())
    into.chmod(0o755)
    say(f"{into} holds the agent {manifest.version} in {len(manifest.wheels)} wheels")


@deploy_commands.command()
def redis_certificate(
    endpoint: Annotated[str, typer.Argument(help="host:port where agents reach Redis, as in the settings.")],
    into: Annotated[Path, typer.Option(help="Folder for redis.pem and redis.key.", file_okay=False)],
    given: Credentials = _CREDENTIALS,
) -> None:
    """Issue the certificate of the agents' Redis, which lives for 90 days, by the platform's own authority."""
    issued, authority_pem = asyncio.run(_issue(endpoint, given / "penguinmails-hub"))
    (into / "authority.pem").write_bytes(authority_pem)
    (into / "redis.pem").write_bytes(issued.certificate_pem)
    (into / "redis.key").touch(mode=0o600)
    (into / "redis.key").write_bytes(issued.private_key_pem)
    say(f"{into} holds Redis' certificate for {endpoint}; it has to read it again")


async def _issue(endpoint: str, hub: Path) -> tuple[ServerCertificate, bytes]:
    settings = Settings(
        state_dir=hub,
        sealing_key_file=hub / SEALING_KEY,
        system_database_url=SecretStr((hub / "system_database_url").read_text()),
    )
    database = Database(settings.system_database_url.get_secret_value(), pool_size=1)
    try:
        async with database.system() as session:
            sealer = Sealer.of_file(settings.sealing_key_file)
            authority = await Authority.load_or_create(session, sealer, settings.trust_domain)
    finally:
        await database.close()
    return authority.issue_for(endpoint), authority.certificate_pem
