"""The generated client, as somebody uses it: installed from its wheel, checked by mypy, against a real api process."""

import asyncio
import subprocess
import sys
import zipfile
from pathlib import Path

from sqlalchemy import text

from control_plane.cli.client import client
from control_plane.settings import Settings
from db.session import Database
from tests.integration.api_process import running_api
from tests.integration.database import SomeTenant
from tests.integration.mail_rows import make_inbox, make_server

EXAMPLE = """\
import sys
from uuid import UUID

from penguinmails_client import AuthenticatedClient
from penguinmails_client.api.messages import send_api_v1_inboxes_inbox_id_messages_post as send
from penguinmails_client.models import MessageAccepted, NewMessage

url, key, inbox = sys.argv[1:]
with AuthenticatedClient(base_url=url, token=key) as client:
    body = NewMessage(to="anna@example.net", subject="Fish", text="Hello")
    accepted = send.sync(UUID(inbox), client=client, body=body)
    assert isinstance(accepted, MessageAccepted)
    print(accepted.id)
"""


async def test_the_clients_wheel_is_typed_and_sends_a_message(
    rest_settings: Settings, system_database: Database, tenant: SomeTenant, tmp_path: Path
) -> None:
    await asyncio.to_thread(client, tmp_path)
    site, program = unpack(tmp_path), tmp_path / "example.py"
    program.write_text(EXAMPLE)
    inbox = await make_inbox(system_database, tenant, await make_server(system_database, tenant))
    typed = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path / "mypy")]
    await run([*typed, str(program)], site)
    with running_api(rest_settings) as url:
        sent = await run([sys.executable, str(program), url, tenant.api_key, str(inbox.id)], site)
    async with system_database.system() as session:
        assert sent.split() == [str(await session.scalar(text("SELECT id FROM messages")))]


def unpack(folder: Path) -> Path:
    """Return where the folder's wheel is unpacked, which is what installing it does."""
    (wheel,) = folder.glob("penguinmails_client-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


async def run(command: list[str], site: Path) -> str:
    """Run a program that finds the client, and return what it says."""
    paths = {"PYTHONPATH": str(site), "MYPYPATH": str(site)}
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=site, env=paths, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)
