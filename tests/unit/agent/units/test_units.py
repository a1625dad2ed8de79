"""The unit files say what the code relies on."""

import configparser
from pathlib import Path

import pytest

from agent.settings import Settings
from agent.units import bootstrap
from agent.uplink.reasons import EXIT_BANNED, EXIT_NOT_ENROLLED
from mailstack.layout import POSTFIX_QUEUE

FOLDER = Path(bootstrap.__file__).parent
HARDENING = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "MemoryDenyWriteExecute": "yes",
    "RestrictNamespaces": "yes",
    "SystemCallArchitectures": "native",
}


def read(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string((FOLDER / name).read_text())
    return parser


def test_refusals_are_not_restarted() -> None:
    service = read("penguin-agent.service")["Service"]
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"].split() == [str(EXIT_BANNED), str(EXIT_NOT_ENROLLED)]


def test_the_network_half_has_no_rights_and_a_watchdog() -> None:
    service = read("penguin-agent.service")["Service"]
    assert service["User"] == "penguin-agent"
    assert service["CapabilityBoundingSet"] == ""
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) == 60
    assert service["StateDirectoryMode"] == "0700"
    assert service["ReadWritePaths"] == f"-{Settings().join_file}"


@pytest.mark.parametrize("name", ["penguin-agent.service", "penguin-configure.service"])
def test_both_halves_are_hardened(name: str) -> None:
    service = read(name)["Service"]
    assert {key: service[key] for key in HARDENING} == HARDENING


def test_only_the_agents_group_reaches_the_root_half() -> None:
    socket = read("penguin-configure.socket")["Socket"]
    assert socket["ListenStream"] == str(Settings().configure_socket)
    assert (socket["SocketUser"], socket["SocketGroup"], socket["SocketMode"]) == ("root", "penguin-agent", "0660")


def test_the_bootstrap_installs_every_unit_there_is() -> None:
    units = {path.name for path in FOLDER.iterdir() if path.suffix in {".service", ".socket", ".path", ".timer"}}
    assert units == set(bootstrap.UNITS)
    additions = {path.name for path in FOLDER.iterdir() if path.suffix == ".conf"}
    assert additions == {bootstrap.SYSUSERS, bootstrap.POSTFIX_DROP_IN}


def test_postfix_is_started_again_however_often_its_master_dies() -> None:
    unit = read("postfix-restart.conf")
    assert unit["Service"]["Restart"] == "always"
    assert unit["Service"]["PIDFile"] == f"{POSTFIX_QUEUE}/pid/master.pid"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
