"""Which processes an installation has, and with what environment each is started."""

import json
import os
import sys
from collections.abc import Sequence
from functools import partial

from pydantic import SecretStr

from control_plane.processes.child import ChildOrder
from control_plane.processes.places import Places
from control_plane.processes.readiness import answers_healthy, socket_appears
from control_plane.settings import Settings

#: Each says by notification that it serves.
_PROCESSES = ("downloads", "hub", "queuer", "worker")


def cloud_order(places: Places, enter: Sequence[str]) -> ChildOrder:
    """Return how the local cloud is started; it serves when its socket is there."""
    module = "control_plane.providers.local.cloud"
    folders = ("--state-dir", str(places.state), "--images-dir", str(places.images))
    return ChildOrder(
        name="cloud",
        command=_python(enter, module, *folders, "--socket", str(places.cloud_socket)),
        environment=_outer_environment(),
        log=places.logs / "cloud.log",
        notify_socket=places.runtime / "notify" / "cloud",
        ready=partial(socket_appears, places.cloud_socket),
    )


def process_orders(
    places: Places, enter: Sequence[str], settings: Settings, rest_fd: int, rest_port: int
) -> list[ChildOrder]:
    """Return how the control plane's processes are started; the api serves when its REST port answers."""
    environment = _outer_environment() | exported(settings.model_copy(update={"api_database_url": SecretStr("")}))
    # What serves tenants cannot see across them, whatever it is made to do.
    api_settings = settings.model_copy(update={"system_database_url": SecretStr(""), "redis_url": SecretStr("")})
    orders = [
        ChildOrder(
            name=name,
            command=_python(enter, f"control_plane.processes.{name}"),
            environment=environment,
            log=places.logs / f"{name}.log",
            notify_socket=places.runtime / "notify" / name,
        )
        for name in _PROCESSES
    ]
    api = ChildOrder(
        name="api",
        command=_python(enter, "control_plane.processes.api"),
        environment=_outer_environment() | exported(api_settings) | {"PENGUIN_REST_FDS": str(rest_fd)},
        log=places.logs / "api.log",
        notify_socket=places.runtime / "notify" / "api",
        pass_fds=(rest_fd,),
        ready=partial(answers_healthy, "127.0.0.1", rest_port),
    )
    return [*orders, api]


def exported(settings: Settings) -> dict[str, str]:
    """Return settings as the environment variables that they are read from."""
    variables = {}
    for name, value in settings:
        if value is not None:
            variables[f"PENGUIN_{name.upper()}"] = _text(value)
    return variables


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return json.dumps(value) if isinstance(value, tuple) else str(value)


def _outer_environment() -> dict[str, str]:
    """Return our environment without settings: what a child is not told explicitly, such as the owner's URL."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PENGUIN_")}


def _python(enter: Sequence[str], module: str, *arguments: str) -> list[str]:
    """Return the command for one of our modules, which gets SIGTERM when we die."""
    return [*enter, "setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", module, *arguments]
