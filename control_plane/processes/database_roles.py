"""How the processes log in to PostgreSQL: not as its owner, but as the roles that the migrations make.

In the private PostgreSQL whoever reaches the socket may be any role. In one that the user brought, the roles get random
passwords, which are kept in the installation's state (mode 0600).
"""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from control_plane.errors import Unavailable

API = "penguin_api"
SYSTEM = "penguin_system"
IDENTITY = "penguin_identity"
_ROLES = (API, SYSTEM, IDENTITY)

_FILE = "database-roles.json"


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """libpq URLs: the owner's for migrations, and those of the three roles that the processes use."""

    owner: str = field(repr=False)
    api: str = field(repr=False)
    system: str = field(repr=False)
    identity: str = field(repr=False)


def give_passwords(owner_url: str, state: Path) -> DatabaseUrls:
    """Set the roles' passwords in a migrated database: those in the installation's state, or new ones kept there."""
    passwords = _load_or_create(state / _FILE)
    with psycopg.connect(owner_url) as connection:
        for role, password in passwords.items():
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)))
    return DatabaseUrls(
        owner=owner_url,
        api=_as_role(owner_url, API, passwords[API]),
        system=_as_role(owner_url, SYSTEM, passwords[SYSTEM]),
        identity=_as_role(owner_url, IDENTITY, passwords[IDENTITY]),
    )


def system_url(owner_url: str, state: Path) -> str:
    """Return the system role's URL in a database whose roles have been given passwords; raise `Unavailable` if not."""
    if not (state / _FILE).exists():
        raise Unavailable("PENGUIN_DATABASE_URL is not set up by this checkout yet; `./penguin up` does it")
    return _as_role(owner_url, SYSTEM, _load_or_create(state / _FILE)[SYSTEM])


def reached_at(url: str, address: str, port: int) -> str:
    """Return `url` for a connection that goes to `address` and `port`, while the host's name still stands for TLS."""
    parsed = make_url(url)
    return _text(parsed.set(port=port).update_query_dict({"hostaddr": address}))


def _as_role(url: str, role: str, password: str) -> str:
    return _text(make_url(url).set(username=role, password=password))


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _load_or_create(password_file: Path) -> dict[str, str]:
    """Return a password for each role; one that the file does not know yet gets one."""
    passwords: dict[str, str] = json.loads(password_file.read_text()) if password_file.exists() else {}
    if missing := [role for role in _ROLES if role not in passwords]:
        passwords |= {role: secrets.token_urlsafe(32) for role in missing}
        password_file.touch(mode=0o600)
        password_file.write_text(json.dumps(passwords))
    return passwords
