"""What the bootstrap decides before it touches the server."""

import contextlib
import datetime as dt
import hashlib
import http.server
import ipaddress
import json
import os
import platform
import shutil
import ssl
import threading
import time
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.units import bootstrap
from agent.units.bootstrap import BootstrapFailed, Downloads, Manifest, Wheel, parse_manifest
from control_plane.providers.local.endpoint_certificate import make_endpoint_certificate

GOOD: dict[str, Any] = {
    "version": "0.1.0",
    "wheels": [{"name": "b-1-py3-none-any.whl", "sha256": "ab"}, {"name": "a-1-py3-none-any.whl", "sha256": "cd"}],
}


def encoded(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def test_a_manifest_is_read() -> None:
    wheels = (Wheel("b-1-py3-none-any.whl", "ab"), Wheel("a-1-py3-none-any.whl", "cd"))
    assert parse_manifest(encoded()) == Manifest("0.1.0", wheels)


@pytest.mark.parametrize("name", ["../a.whl", "/etc/passwd", "", ".hidden", "a/b.whl", None, 7])
def test_a_name_that_is_a_path_is_refused(name: object) -> None:
    with pytest.raises(BootstrapFailed):
        parse_manifest(encoded(wheels=[{"name": name, "sha256": "ab"}]))
    with pytest.raises(BootstrapFailed):
        parse_manifest(encoded(version=name))


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda value: json.dumps(value).encode()))
def test_noise_is_refused(content: bytes) -> None:
    with pytest.raises(BootstrapFailed):
        parse_manifest(content)


def test_downloads_without_tls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BootstrapFailed, match="https"):
        Downloads("http://10.77.0.1:7480", tmp_path / "ca.pem")


@contextlib.contextmanager
def door(folder: Path, *bodies: bytes) -> Iterator[str]:
    """Serve a file of ten octets over HTTPS, of which each answer has only so much, and yield the door's URL."""
    answers = iter(bodies)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(next(answers))

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    made = make_endpoint_certificate(ipaddress.IPv4Address("127.0.0.1"), dt.datetime.now(dt.UTC))
    (folder / "ca.pem").write_bytes(made.root_pem)
    (folder / "pair.pem").write_bytes(made.key_pem + made.certificate_pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "pair.pem")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


def test_a_download_that_was_cut_off_is_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as by a control plane that is restarted; cloud-init runs the bootstrap once."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    whole = b"0123456789"
    with door(tmp_path, whole[:4], whole[:9], whole) as url:
        downloads = Downloads(url, tmp_path / "ca.pem", patience=60.0)
        assert downloads.read("a.whl", hashlib.sha256(whole).hexdigest(), limit=100) == whole


def test_what_is_not_the_file_is_refused_at_once(tmp_path: Path) -> None:
    with door(tmp_path, b"9876543210") as url, pytest.raises(BootstrapFailed, match="expected"):
        Downloads(url, tmp_path / "ca.pem").read("a.whl", hashlib.sha256(b"0123456789").hexdigest(), limit=100)


def test_a_file_that_is_too_long_is_refused_at_once(tmp_path: Path) -> None:
    with door(tmp_path, b"0123456789") as url, pytest.raises(BootstrapFailed, match="expected"):
        Downloads(url, tmp_path / "ca.pem").read("a.whl", hashlib.sha256(b"0123456789").hexdigest(), limit=5)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bootstrap, "INSTALL_DIR", tmp_path)
    release = tmp_path / "releases" / "0.1.0-abc"
    release.mkdir(parents=True)
    return release


def test_a_wheel_is_unpacked(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "a/__init__.py", "a-1.dist-info/METADATA")
    bootstrap.unpack_wheel(wheel, tmp_path / "site-packages")
    assert (tmp_path / "site-packages" / "a" / "__init__.py").is_file()


def test_a_wheel_that_reaches_outside_is_refused(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "a/__init__.py", "a-1.data/scripts/run")
    with pytest.raises(BootstrapFailed, match="outside"):
        bootstrap.unpack_wheel(wheel, tmp_path / "site-packages")


def test_a_wheel_cannot_write_above_its_folder(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "../above.py", "/etc/absolute.py")
    bootstrap.unpack_wheel(wheel, tmp_path / "site-packages")
    assert not (tmp_path / "above.py").exists()


def test_a_broken_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"PK half")
    with pytest.raises(BootstrapFailed, match="no wheel"):
        bootstrap.unpack_wheel(tmp_path / "a.whl", tmp_path)


def make_wheel(folder: Path, *names: str) -> Path:
    wheel = folder / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return wheel


def test_launchers_call_what_the_project_declares() -> None:
    project = tomllib.loads((Path(bootstrap.__file__).parents[2] / "pyproject.toml").read_text())
    scripts = project["project"]["scripts"]
    assert {name: f"{module}:main" for name, module in bootstrap.LAUNCHERS.items()}.items() <= scripts.items()


def test_switching_twice_changes_once(installed: Path) -> None:
    assert bootstrap.point("current", installed)
    assert not bootstrap.point("current", installed)
    assert (installed.parent.parent / "current").resolve() == installed


def test_a_switch_that_was_cut_short_is_finished_by_the_next(installed: Path) -> None:
    (installed.parent.parent / ".current.new").symlink_to("nowhere")
    assert bootstrap.point("current", installed)


def test_the_current_release_and_one_before_are_kept(installed: Path) -> None:
    for name in ("old-1", "old-2", "old-3"):
        (installed.parent / name).mkdir()
    bootstrap.remove_old_releases(installed)
    kept = {path.name for path in installed.parent.iterdir()}
    assert len(kept) == bootstrap.RELEASES_KEPT
    assert installed.name in kept


#: The distributions' own words (Debian 12 and Ubuntu 24.04; Debian 13).
STANDS_FOR_INSTANCES = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\nExecReload=/bin/true\n"
RUNS_THE_MAIN_INSTANCE = "[Service]\nType=forking\nExecStart=postfix debian-systemd-start\nExecStop=postfix stop\n"


@pytest.mark.parametrize(
    ("vendors", "place"),
    [
        ({"postfix.service": STANDS_FOR_INSTANCES, "postfix@.service": ""}, "postfix@.service.d/penguin.conf"),
        ({"postfix.service": RUNS_THE_MAIN_INSTANCE, "postfix@.service": ""}, "postfix.service.d/penguin.conf"),
        ({"postfix.service": RUNS_THE_MAIN_INSTANCE}, "postfix.service.d/penguin.conf"),
    ],
)
def test_what_makes_postfix_start_again_is_added_to_the_unit_that_runs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vendors: dict[str, str], place: str
) -> None:
    folders = {name: tmp_path / name for name in ("VENDOR_UNIT_DIR", "UNIT_DIR", "SYSUSERS_DIR")}
    for name, folder in folders.items():
        folder.mkdir()
        monkeypatch.setattr(bootstrap, name, folder)
    monkeypatch.setattr(bootstrap, "run", lambda _: None)
    for unit, content in vendors.items():
        (folders["VENDOR_UNIT_DIR"] / unit).write_text(content)
    release = tmp_path / "release"
    shutil.copytree(Path(bootstrap.__file__).parent, release / "lib/python3.11/site-packages/agent/units")

    assert bootstrap.install_units(release)
    assert not bootstrap.install_units(release)

    (addition,) = folders["UNIT_DIR"].glob("*.d/*")
    assert addition == folders["UNIT_DIR"] / place
    assert "Restart=always" in addition.read_text()


@pytest.mark.parametrize(
    ("wheel", "minors"),
    [
        ("jinja2-3.1.6-py3-none-any.whl", {11, 12, 13}),
        ("grpcio-1.85.1-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", {12}),
        ("cryptography-50.0.2-cp311-abi3-manylinux_2_34_x86_64.whl", {11, 12, 13}),
        ("later-1-cp313-abi3-manylinux_2_34_x86_64.whl", {13}),
        ("other-1-pp310-pypy310_pp73-manylinux_2_34_x86_64.whl", set()),
    ],
)
def test_a_server_takes_the_wheels_that_fit_its_python(wheel: str, minors: set[int]) -> None:
    assert {minor for minor in (11, 12, 13) if bootstrap.fits(wheel, minor)} == minors


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "os-release").write_text('PRETTY_NAME="x"\nID=debian\nVERSION_ID="12"\n')
    places = {
        "CONFIG_DIR": tmp_path / "etc",
        "AGENT_STATE_DIR": tmp_path / "var",
        "OS_RELEASE": tmp_path / "os-release",
        "SYSTEMD": tmp_path,
        "MACHINE": platform.machine(),
    }
    for name, value in places.items():
        monkeypatch.setattr(bootstrap, name, value)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def join_files(folder: Path) -> bytes:
    agent = json.dumps({"enrol_endpoint": "10.77.0.1:7443", "join_token": "once"})
    return json.dumps({str(folder / "etc/agent.json"): agent, str(folder / "etc/ca.pem"): "PEM"}).encode()


def test_joining_writes_what_user_data_would_have_brought_and_may_be_begun_again(bare: Path) -> None:
    bootstrap.join(join_files(bare))
    bootstrap.join(join_files(bare))
    assert (bare / "etc/ca.pem").read_text() == "PEM"
    assert (bare / "etc/agent.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("os-release", "ID=ubuntu\nVERSION_ID='22.04'\n", "this is ubuntu 22.04; it must be one of Debian 12"),
        ("os-release", "", "this is unknown unknown"),
        ("var/identity/enrolment.json", "{}", "joined already"),
        ("etc/agent.json", '{"join_token": "another"}', "another join command was begun"),
        ("etc/agent.json", '{"enrol_endpoint": "10.77.0.1:7443"}', "another join command was begun"),
    ],
)
def test_a_server_that_cannot_join_is_left_as_it_is(bare: Path, name: str, value: str, words: str) -> None:
    (bare / name).parent.mkdir(parents=True, exist_ok=True)
    (bare / name).write_text(value)
    before = sorted(bare.rglob("*"))
    with pytest.raises(BootstrapFailed, match=words):
        bootstrap.join(join_files(bare))
    assert sorted(bare.rglob("*")) == before
    assert (bare / name).read_text() == value


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda value: json.dumps(value).encode()))
def test_noise_makes_no_server_join(content: bytes) -> None:
    with pytest.raises(BootstrapFailed, match="cannot be used"):
        bootstrap.join(content)
