"""`client`: the typed Python client of the tenants' API, penguinmails-client, made from our own OpenAPI document.

It is made and not kept: tens of thousands of lines, each of which the document says already. The generator lives in an
environment of its own, made from its lock with hashes checked and reused while that stays: it wants an older typer.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from control_plane.cli.output import say
from control_plane.errors import PenguinError
from control_plane.processes.places import CHECKOUT, HOME
from control_plane.rest.app import make_app
from control_plane.settings import Settings

PACKAGE = "penguinmails_client"
_LOCK = CHECKOUT / "requirements" / "client-generator.lock"
_PROJECT = f"""\
[project]
name = "penguinmails-client"
version = "1"
description = "The tenants' API of PenguinMails, typed"
requires-python = ">=3.11"
dependencies = ["httpx>=0.28,<0.29", "attrs>=22.2.0"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
packages = ["{PACKAGE}"]
"""


class ClientFailed(PenguinError):
    """The client cannot be made; the tool's words follow."""


def client(
    into: Annotated[Path, typer.Option("--into", help="The folder that gets the wheel.")] = Path("dist"),
) -> None:
    """Make the Python client, a wheel, from this version's OpenAPI document."""
    with tempfile.TemporaryDirectory(prefix="penguin-client-") as folder:
        generate(Path(folder))
        _run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into.absolute())], Path(folder))
    say(f"made penguinmails-client in {into}")


def generate(into: Path) -> None:
    """Write the client's package and project below `into`; raise `ClientFailed`, also for what cannot be expressed."""
    document = into / "openapi.json"
    document.write_text(json.dumps(distinct_titles(openapi())), encoding="utf-8")
    programs = environment()
    generator = str(programs / "openapi-python-client")
    command = [generator, "generate", "--path", str(document), "--meta", "none", "--output-path", str(into / PACKAGE)]
    # It formats what it has written with the ruff beside it.
    _run([*command, "--fail-on-warning"], into, {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"})
    (into / PACKAGE / "py.typed").touch()
    (into / "pyproject.toml").write_text(_PROJECT, encoding="utf-8")


def openapi() -> dict[str, Any]:
    """Return the document of the tenants' API; nothing is connected to."""
    with tempfile.TemporaryDirectory(prefix="penguin-client-") as state:
        settings = {"state_dir": state, "api_database_url": "postgresql://nobody@nowhere/penguin"}
        return make_app(Settings.model_validate(settings)).openapi()


def distinct_titles(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with the schemas of one title told apart by their modules: the generator goes by titles."""
    schemas = {name: _titled(name, schema) for name, schema in document["components"]["schemas"].items()}
    return {**document, "components": {**document["components"], "schemas": schemas}}


def _titled(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    # control_plane__rest__auth__sign_up__Asked, where there is another of that title.
    *modules, title = name.removeprefix("control_plane__").split("__")
    where = "".join(word.title() for module in modules for word in module.split("_"))
    return {**schema, "title": f"{where}{title}"}


def environment() -> Path:
    """Return the folder of the generator's programs, after making its environment if need be."""
    place = HOME / "client-generator"
    stamp = place / "lock.sha256"
    wanted = hashlib.sha256(_LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        uv = [sys.executable, "-m", "uv"]
        python = str(place / "bin" / "python")
        _run([*uv, "venv", "-q", "--python", sys.executable, str(place)], CHECKOUT)
        _run([*uv, "pip", "install", "-q", "--python", python, "--require-hashes", "-r", str(_LOCK)], CHECKOUT)
        stamp.write_text(wanted)
    return place / "bin"


def _run(command: Sequence[str], folder: Path, more: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **(more or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ClientFailed(f"{Path(command[0]).name} failed: {done.stdout}{done.stderr}")
