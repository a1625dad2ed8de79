"""Which processes an installation has, and with what environment each is started."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pydantic import SecretStr

from control_plane.processes.child import ChildOrder
from control_plane.processes.places import Places
from control_plane.processes.readiness import answers_healthy, socket_appears
from control_plane.settings import Settings

#: Each says by notification that it serves.
_PROCESSES = ("downloads", "hub", "queuer", "worker")
#: What is left of root to a process that serves: to reach the private daemons' sockets, which are their users' alone,
#: and to greet at port 25. It makes no namespace or mount, enters none, and becomes and traces nobody.
_LEFT = ("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all,+dac_override,+net_bind_service")


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


@dataclass(frozen=True, slots=True)
class Listening:
    """A listening socket on loopback, opened for a REST door: its file descriptor and its port."""

    fd: int
    port: int


def process_orders(
    places: Places, enter: Sequence[str], settings: Settings, rest: Listening, operators: Listening | None = None
) -> list[ChildOrder]:
    """Return how the control plane's processes are started; a REST door serves when its port answers.

    Without a socket there is no door for operators.
    """
    system = settings.model_copy(
        update={
            "api_database_url": SecretStr(""),
            "identity_database_url": SecretStr(""),
            "owner_database_url": SecretStr(""),
            "mail_url": SecretStr(""),
        }
    )
    orders = [
        ChildOrder(
            name=name,
            command=_python(enter, f"control_plane.processes.{name}", left=() if name == "worker" else _LEFT),
            environment=_outer_environment() | exported(system if name == "worker" else _without_tokens(system)),
            log=places.logs / f"{name}.log",
            notify_socket=places.runtime / "notify" / name,
        )
        for name in _PROCESSES
    ]
    # What serves tenants cannot see across them, whatever it is made to do; what serves operators can, and no more.
    api = _without_tokens(settings).model_copy(
        update={"system_database_url": SecretStr(""), "owner_database_url": SecretStr("")}
    )
    if settings.backup_repository and settings.owner_database_url.get_secret_value():
        orders.append(_backups_order(places, _with_one_secret(settings, "owner_database_url")))
    orders.append(_door_order("api", places, enter, api, rest))
    if operators:
        theirs = _with_one_secret(settings, "system_database_url")
        orders.append(_door_order("operators", places, enter, theirs, operators))
    return orders


def _backups_order(places: Places, settings: Settings) -> ChildOrder:
    """Return how backups are started: outside the world, for the repository may be anywhere."""
    return ChildOrder(
        name="backups",
        command=_python((), "control_plane.processes.backups"),
        environment=_outer_environment() | exported(settings),
        log=places.logs / "backups.log",
        notify_socket=places.runtime / "notify" / "backups",
    )


def _door_order(
    name: str, places: Places, enter: Sequence[str], settings: Settings, listening: Listening
) -> ChildOrder:
    """Return how a REST door is started, with its socket."""
    return ChildOrder(
        name=name,
        command=_python(enter, f"control_plane.processes.{name}", left=_LEFT),
        environment=_outer_environment() | exported(settings) | {"PENGUIN_REST_FDS": str(listening.fd)},
        log=places.logs / f"{name}.log",
        notify_socket=places.runtime / "notify" / name,
        pass_fds=(listening.fd,),
        ready=partial(answers_healthy, "127.0.0.1", listening.port),
    )


def _without_tokens(settings: Settings) -> Settings:
    """Return the settings without providers' tokens, which only the worker uses; what is offered stays known."""
    offered = {
        "hetzner_offered": settings.hetzner_offered or bool(settings.hetzner_token.get_secret_value()),
        "hostwinds_offered": settings.hostwinds_offered or bool(settings.hostwinds_api_key.get_secret_value()),
    }
    no_tokens = {"hetzner_token": SecretStr(""), "hostwinds_api_key": SecretStr("")}
    return settings.model_copy(update={**no_tokens, **offered})


def _with_one_secret(settings: Settings, kept: str) -> Settings:
    """Return the settings without any secret but one."""
    secrets = [name for name, value in settings if isinstance(value, SecretStr) and name != kept]
    return settings.model_copy(update=dict.fromkeys(secrets, SecretStr("")))


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


def _python(enter: Sequence[str], module: str, *arguments: str, left: Sequence[str] = ()) -> list[str]:
    """Return the command for one of our modules, which gets SIGTERM when we die, with what is `left` of our rights."""
    return [*enter, "setpriv", "--pdeathsig", "TERM", *left, "--", sys.executable, "-m", module, *arguments]
