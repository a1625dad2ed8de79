"""The kept files against the real daemons of Debian 12 and 13: their validators, and mail that flows through them.

Needs root and the baked images (`./penguin test` bakes them). Each test works on an overlay that is gone afterwards.
"""

import datetime as dt
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from control_plane.processes.places import CHECKOUT, HOME
from control_plane.providers.local.image import image_root
from control_plane.providers.local.recipes import BOOKWORM, TRIXIE, Recipe
from mailstack import layout
from mailstack.certificates import self_signed
from mailstack.certificates.render import render_pair
from mailstack.checking import CommandOutput
from mailstack.dovecot import check as dovecot
from mailstack.dovecot.render import copy_configuration
from mailstack.dovecot.render import render as render_dovecot
from mailstack.nginx import check as nginx
from mailstack.nginx.client_settings import outlook_settings, thunderbird_settings
from mailstack.nginx.render import render as render_nginx
from mailstack.opendkim import check as opendkim
from mailstack.opendmarc import check as opendmarc
from mailstack.postfix import check as postfix
from mailstack.postfix.render import render as render_postfix
from mailstack.rendered_file import RenderedFile
from tests.golden.render import rendered
from tests.golden.spec import CLIENTS, MOVING, PLATFORMS, POLICIES, POOLED, SPEC

_IMAGES = {"debian-12": BOOKWORM, "debian-13": TRIXIE}
#: As Outlook asks.
_QUESTION = """<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006">
  <Request>
    <EMailAddress>{}</EMailAddress>
    <AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema>
  </Request>
</Autodiscover>
"""
_LONG_AGO = 1_000_000_000
#: What `apply` and systemd do on a server before any daemon starts.
_PREPARATION = (
    *(("groupadd", "--gid", "5000", "vmail"), ("useradd", "--uid", "5000", "--gid", "5000", "vmail")),
    ("usermod", "--append", "--groups", "opendkim,opendmarc", "postfix"),
    ("install", "--directory", "--owner=vmail", "--group=vmail", layout.MAIL_ROOT),
    ("install", "--directory", "--owner=opendkim", "--group=opendkim", "--mode=0750", "/run/opendkim"),
    ("install", "--directory", "--owner=opendmarc", "--group=opendmarc", "--mode=0750", "/run/opendmarc"),
)


class Root:
    """A Debian root with our files in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *argv: str) -> CommandOutput:
        ended = subprocess.run(
            ["chroot", self.path, *argv], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        return CommandOutput(ended.returncode, ended.stdout, ended.stderr)

    def install(self, file: RenderedFile) -> None:
        target = self.path / file.path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.content)
        target.chmod(file.mode)
        assert self.run("chown", f"{file.owner}:{file.group}", file.path).exit_code == 0
        if file.postmap:
            assert self.run("postmap", f"hash:{file.path}") == CommandOutput(0, "", "")
        self._age(target)

    def append(self, path: str, line: str) -> None:
        with (self.path / path.lstrip("/")).open("a") as file:
            file.write(f"{line}\n")
        self._age(self.path / path.lstrip("/"))

    def probe(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"),
                *(sys.executable, "-m", "tests.flow.mail_daemons", str(self.path)),
            ],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            cwd=CHECKOUT,
        )

    def fetch(self, name: str, path: str, sent: str = "") -> subprocess.CompletedProcess[str]:
        """Ask the root's own nginx, in a network of its own: the answer, its status and its type. `sent` is posted."""
        serve = f"ip link set lo up && mount -t proc proc {self.path}/proc && chroot {self.path} nginx"
        ask = f"curl -sk --resolve {name}:443:127.0.0.1 -w '%{{http_code}} %{{content_type}}\\n' 'https://{name}{path}'"
        if sent:
            ask += f" -H 'Content-Type: text/xml' --data-binary {shlex.quote(sent)}"
        return subprocess.run(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", f"{serve} && {ask}"],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    @staticmethod
    def _age(target: Path) -> None:
        """Postfix waits for a main.cf that was just written."""
        os.utime(target, (_LONG_AGO, _LONG_AGO))


def _image(recipe: Recipe) -> Path:
    root = image_root(recipe, HOME / "images")
    assert root.exists(), f"the image {recipe.digest} is not baked; ./penguin test bakes it"
    return root


def _configured(root: Root, platform: str) -> Root:
    for command in _PREPARATION:
        output = root.run(*command)
        assert output.exit_code == 0, output.last_words
    (root.path / "etc/hosts").write_text(f"127.0.0.1 localhost\n{SPEC.ipv4_address} {SPEC.hostname}\n")
    served = render_pair(self_signed.make(SPEC.hostname, dt.datetime.now(dt.UTC)))
    for file in (served, *rendered(platform)):
        root.install(file)
    return root


@pytest.fixture(params=_IMAGES)
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(platform: str) -> Iterator[Root]:
    image = _image(_IMAGES[platform])
    with tempfile.TemporaryDirectory(prefix="penguin-root-") as folder:
        upper, work, merged = (Path(folder) / name for name in ("upper", "work", "merged"))
        for directory in (upper, work, merged):
            directory.mkdir()
        options = f"lowerdir={image},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "penguin-test", "-o", options, merged], check=True)
        try:
            yield _configured(Root(merged), platform)
        finally:
            subprocess.run(["umount", merged], check=True)


def _complaints(root: Root, service: ModuleType) -> list[str]:
    found = (service.complaint(root.run(*argv)) for argv in service.commands(""))
    return [complaint for complaint in found if complaint]


def test_every_validator_accepts_the_kept_files_and_refuses_nonsense(root: Root) -> None:
    assert [_complaints(root, service) for service in (postfix, dovecot, opendkim, opendmarc)] == [[], [], [], []]

    for service, path, nonsense in (
        (postfix, "/etc/postfix/main.cf", "smtpd_relay_restriction = reject_unauth_destination"),
        (dovecot, "/etc/dovecot/dovecot.conf", "disable_plain_text_auth = yes"),
        (opendkim, "/etc/opendkim.conf", "Cannonicalization relaxed"),
        (opendmarc, "/etc/opendmarc.conf", "SPFSelfValidat true"),
    ):
        root.append(path, nonsense)
        assert _complaints(root, service), path


def test_real_postfix_takes_the_transports_of_further_addresses_and_binds_senders_to_them(
    root: Root, platform: str
) -> None:
    for file in render_postfix(POOLED, PLATFORMS[platform]):
        root.install(file)

    assert _complaints(root, postfix) == []
    limits = root.run("postconf", "-h", "out-192-0-2-21_destination_concurrency_limit").stdout
    assert limits == "3\n"
    table = root.run("postconf", "-h", "sender_dependent_default_transport_maps").stdout.strip()
    assert root.run("postmap", "-q", "jane.doe@shop.example", table).stdout == "out-192-0-2-21:\n"
    assert root.run("postmap", "-q", "postmaster@no-key.example", table).exit_code == 1
    options = root.run("postconf", "-P", "out-192-0-2-21/unix/*").stdout
    assert "out-192-0-2-21/unix/smtp_bind_address = 192.0.2.21\n" in options
    assert "out-192-0-2-21/unix/smtp_helo_name = mx1-a1.fleet.example\n" in options


def test_real_nginx_takes_the_policies_and_shows_them_under_their_names_alone(root: Root, platform: str) -> None:
    for file in render_nginx(POLICIES, PLATFORMS[platform]):
        root.install(file)

    assert _complaints(root, nginx) == []
    shown = root.fetch("mta-sts.shop.example", "/.well-known/mta-sts.txt")
    assert shown.stdout == POLICIES.domains[0].mta_sts_policy + "200 text/plain\n"
    assert root.fetch("mta-sts.shop.example", "/").stdout.endswith("404 text/html\n")
    # A TLS alert, before any certificate is shown.
    assert root.fetch("elsewhere.example", "/.well-known/mta-sts.txt").returncode == 35
    root.append("/etc/nginx/nginx.conf", "listen 80;")
    assert _complaints(root, nginx)


def test_real_nginx_tells_thunderbird_and_outlook_where_the_mailboxes_are(root: Root, platform: str) -> None:
    for file in render_nginx(CLIENTS, PLATFORMS[platform]):
        root.install(file)

    assert _complaints(root, nginx) == []
    for place in ("/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml"):
        shown = root.fetch("autoconfig.shop.example", f"{place}?emailaddress=jane.doe%40shop.example").stdout
        assert shown == thunderbird_settings("shop.example", "mx1.fleet.example") + "200 text/xml\n"
    assert root.fetch("autoconfig.shop.example", "/").stdout.endswith("404 text/html\n")

    for place in ("/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml"):
        answer = root.fetch("autodiscover.xn--bcher-kva.example", place, _QUESTION.format("Info@xn--bcher-kva.example"))
        assert answer.stdout == _autodiscovered("<LoginName>Info@xn--bcher-kva.example</LoginName>")
    place = "/autodiscover/autodiscover.xml"
    for asked in ("", "<b>jane@shop.example", "$host@shop.example", "jane@shop.example'", "x" * 7000):
        answer = root.fetch("autodiscover.shop.example", place, _QUESTION.format(asked))
        assert answer.stdout == _autodiscovered("")
    assert root.fetch("autodiscover.shop.example", place).stdout == _autodiscovered("")
    assert "413 text/html" in root.fetch("autodiscover.shop.example", place, "x" * 10_000).stdout


def _autodiscovered(login_name: str) -> str:
    return outlook_settings("mx1.fleet.example").replace("$http_x_login_name", login_name) + "200 text/xml\n"


def test_real_daemons_take_the_files_of_mailboxes_that_move(root: Root, platform: str) -> None:
    for file in (*render_postfix(MOVING, PLATFORMS[platform]), *render_dovecot(MOVING, PLATFORMS[platform])):
        root.install(file)

    assert [_complaints(root, service) for service in (postfix, dovecot)] == [[], []]
    routes = root.run("postconf", "-h", "transport_maps").stdout.strip()
    assert root.run("postmap", "-q", "old@gone.example", routes).stdout == "smtp:[mx2.fleet.example]\n"
    policies = root.run("postconf", "-h", "smtp_tls_policy_maps").stdout.strip()
    assert root.run("postmap", "-q", "[mx2.fleet.example]", policies).stdout == "encrypt\n"
    copying = root.run("doveconf", "-c", copy_configuration("jane.doe@shop.example"), "-n")
    assert (copying.exit_code, "mx2.fleet.example" in copying.stdout) == (0, True), copying.last_words


def test_mail_flows_through_the_daemons_from_submission_to_mailbox(root: Root) -> None:
    result = root.probe()

    assert (result.returncode, result.stdout.partition(";")[0]) == (
        0,
        "a message went from submission to its mailbox",
    )


@pytest.mark.parametrize("platform", ["debian-12"])
@pytest.mark.parametrize(
    ("path", "line", "finding"),
    [
        (
            "/etc/postfix/main.cf",
            "smtpd_relay_restrictions = permit_inet_interfaces, defer_unauth_destination",
            "port 25: relays to foreign domains",
        ),
        ("/etc/postfix/main.cf", "smtpd_sasl_auth_enable = yes", "port 25: AUTH is offered where it must not be"),
        ("/etc/postfix/main.cf", "virtual_alias_maps = static:penguin-probe@mx1.fleet.example", "unknown users"),
        ("/etc/postfix/master.cf", "10025 inet n - n - - smtpd", "port 10025 is open to the network"),
    ],
)
def test_the_probe_finds_what_a_mail_server_must_not_do(root: Root, path: str, line: str, finding: str) -> None:
    root.append(path, line)
    result = root.probe()

    assert result.returncode == 1
    assert finding in result.stdout
