from dataclasses import replace

import pytest

from mailstack.apply.converge import ConvergeOutcome, Outcome, converge, recover
from mailstack.apply.host import StoredFile
from mailstack.apply.plan import ORDER
from mailstack.apply.probe import ProbeFailed
from mailstack.rendered_file import Service
from mailstack.spec import Mailbox, MailDomain, MailServerSpec
from tests.fakes.host import FakeHost, PowerCut
from tests.golden.spec import NO_REAL_KEY, POLICIES, POOLED, SPEC

_MORE = replace(SPEC, mailboxes=(*SPEC.mailboxes, Mailbox("new@shop.example", SPEC.mailboxes[0].password_hash)))
_RENAMED = replace(SPEC, domains=SPEC.domains[:1], mailboxes=SPEC.mailboxes[:1])


def _passes(_spec: MailServerSpec, _certificate: bytes) -> str:
    return "mail flows"


def _fails(_spec: MailServerSpec, _certificate: bytes) -> str:
    raise ProbeFailed("port 25: relays to foreign domains")


def _dies(_spec: MailServerSpec, _certificate: bytes) -> str:
    raise PowerCut


def _installed() -> FakeHost:
    host = FakeHost()
    assert converge(SPEC, host, _passes).outcome is Outcome.APPLIED
    host.told.clear()
    return host


def test_a_fresh_server_gets_its_files_accounts_and_services() -> None:
    host = FakeHost()
    outcome = converge(SPEC, host, _passes)

    assert outcome == ConvergeOutcome(
        Outcome.APPLIED,
        "mail flows",
        (Service.OPENDKIM, Service.OPENDMARC, Service.DOVECOT, Service.POSTFIX),
        outcome.files_sha256,
    )
    assert host.active == host.enabled == set(ORDER)
    assert host.groups["postfix"] == {"postfix", "opendkim", "opendmarc"}
    assert "vmail" in host.groups
    assert host.files["/etc/postfix/maps/senders.db"].content.startswith(b"table of ")
    assert host.files["/etc/dovecot/users"].mode == 0o640


def test_the_log_is_there_for_the_agent_before_postfix_writes_it_and_left_alone_after() -> None:
    host = FakeHost()
    converge(SPEC, host, _passes)
    assert host.files["/var/log/mail.log"] == StoredFile(b"", "root", "penguin-agent", 0o640)

    grown = StoredFile(b"a line\n", "root", "penguin-agent", 0o640)
    host.files["/var/log/mail.log"] = grown
    converge(_MORE, host, _passes)
    assert host.files["/var/log/mail.log"] == grown


def test_staging_and_backup_leave_nothing_behind() -> None:
    host = _installed()

    assert [path for path in host.files if path.startswith("/var/lib/penguin-configure/")] == [
        "/var/lib/penguin-configure/applied.json"
    ]


def test_applying_the_same_again_touches_nothing_and_verifies() -> None:
    host = _installed()
    before = dict(host.files)
    outcome = converge(SPEC, host, _passes)

    assert (outcome.outcome, outcome.touched, host.told) == (Outcome.APPLIED, (), [])
    assert host.files == before


def test_a_new_mailbox_reloads_no_service() -> None:
    host = _installed()

    assert converge(_MORE, host, _passes).touched == ()
    assert b"new@shop.example" in host.files["/etc/dovecot/users"].content
    assert b"new@shop.example" in host.files["/etc/postfix/maps/mailboxes.db"].content


def test_the_certificate_stays_while_it_is_good() -> None:
    host = _installed()
    before = host.files["/etc/penguin/tls/served.pem"]
    converge(_MORE, host, _passes)

    assert host.files["/etc/penguin/tls/served.pem"] == before


def test_the_keys_of_a_domain_that_left_are_removed() -> None:
    host = _installed()
    assert converge(_RENAMED, host, _passes).outcome is Outcome.APPLIED

    assert "/etc/opendkim/keys/xn--bcher-kva.example/pm1.pem" not in host.files
    assert "/etc/opendkim/keys/shop.example/pm2.pem" in host.files


@pytest.mark.parametrize("program", ["postmap", "opendkim", "opendmarc", "doveconf", "postfix"])
def test_what_a_validator_refuses_replaces_nothing(program: str) -> None:
    host = _installed()
    before = dict(host.files)
    host.complaints[program] = "line 3: nonsense"
    changed = replace(_RENAMED, hostname="mx2.fleet.example", probe=replace(SPEC.probe, address="p@mx2.fleet.example"))
    outcome = converge(changed, host, _passes)

    assert outcome.outcome is Outcome.REFUSED
    assert "line 3: nonsense" in outcome.detail
    assert (host.files, host.told) == (before, [])


def test_validators_see_staged_files_that_name_staged_files() -> None:
    host = FakeHost()
    seen: dict[str, bytes] = {}
    real_run = host.run

    def run(argv: list[str] | tuple[str, ...]) -> object:
        if argv[0] == "opendkim":
            seen.update({path: file.content for path, file in host.files.items()})
        return real_run(argv)

    host.run = run  # type: ignore[assignment,method-assign] # watch what is on disk at that moment
    converge(SPEC, host, _passes)

    staged = "/var/lib/penguin-configure/staging/etc/opendkim"
    assert f"file:{staged}/key.table".encode() in seen[f"{staged}.conf"]
    assert f"pm2:{staged}/keys/shop.example/pm2.pem".encode() in seen[f"{staged}/key.table"]
    assert seen[f"{staged}/keys/shop.example/pm2.pem"] == NO_REAL_KEY


def test_a_failed_probe_puts_every_file_back_and_reloads_the_same_services() -> None:
    host = _installed()
    before = dict(host.files)
    outcome = converge(_RENAMED, host, _fails)

    assert (outcome.outcome, outcome.detail) == (Outcome.ROLLED_BACK, "port 25: relays to foreign domains")
    assert outcome.touched == (Service.OPENDKIM, Service.POSTFIX)
    assert host.told == ["reload opendkim", "reload postfix"] * 2
    assert host.files == before


def test_a_failed_first_apply_removes_its_files_and_stops_what_did_not_run() -> None:
    host = FakeHost()
    host.active = {Service.POSTFIX}
    host.files["/etc/postfix/main.cf"] = StoredFile(b"Debian's", "root", "root", 0o644)
    assert converge(SPEC, host, _fails).outcome is Outcome.ROLLED_BACK

    assert set(host.files) == {"/etc/postfix/main.cf", "/var/log/mail.log"}
    assert host.files["/etc/postfix/main.cf"].content == b"Debian's"
    assert (host.active, host.enabled) == ({Service.POSTFIX}, set())


def test_a_service_that_does_not_come_up_rolls_back_and_says_so() -> None:
    host = FakeHost()
    host.broken = {Service.DOVECOT}
    outcome = converge(SPEC, host, _passes)

    assert outcome.outcome is Outcome.ROLLED_BACK
    assert "it does not start" in outcome.detail
    assert host.active == set()


@pytest.mark.parametrize(
    "at",
    ["/etc/opendkim/signing.table", "/etc/postfix/maps/domains", "/etc/postfix/maps/domains.db", "verification"],
)
def test_a_change_cut_off_anywhere_is_put_back_at_the_next_start(at: str) -> None:
    host = _installed()
    before = dict(host.files)
    host.power_cut_at = at
    with pytest.raises(PowerCut):
        converge(_RENAMED, host, _dies)
    host.power_cut_at = None

    assert recover(host)
    assert host.files == before
    assert not recover(host)


def test_a_power_cut_while_backing_up_changed_nothing() -> None:
    host = _installed()
    before = dict(host.files)
    host.power_cut_at = "/var/lib/penguin-configure/backup/manifest.json"
    with pytest.raises(PowerCut):
        converge(_RENAMED, host, _passes)
    host.power_cut_at = None

    assert not recover(host)
    assert {path: file for path, file in host.files.items() if "/backup/" not in path} == before
    assert converge(_RENAMED, host, _passes).outcome is Outcome.APPLIED


def test_the_digest_tells_specs_apart_and_not_runs() -> None:
    host = _installed()
    first, again = converge(SPEC, host, _passes), converge(SPEC, host, _passes)

    assert first.files_sha256 == again.files_sha256
    assert first.files_sha256 != converge(_MORE, host, _passes).files_sha256


def test_missing_software_is_refused_before_anything_is_touched() -> None:
    host = FakeHost()
    host.complaints["dovecot"] = "is not installed"
    outcome = converge(replace(SPEC, domains=(MailDomain("shop.example"),), mailboxes=(), aliases=()), host, _passes)

    assert (outcome.outcome, outcome.detail) == (Outcome.REFUSED, "dovecot --version: is not installed")


def test_further_addresses_are_taken_up_before_postfix_binds_to_them_and_taken_away_with_their_files() -> None:
    host = _installed()
    host.commands.clear()
    assert converge(POOLED, host, _passes).outcome is Outcome.APPLIED
    assert host.files["/etc/penguin/addresses"].content.splitlines()[1:] == [
        b"address replace 192.0.2.21/32 dev lo label lo:penguin",
        b"address replace 192.0.2.22/32 dev lo label lo:penguin",
    ]
    assert host.commands == ["daemon-reload", "reload-or-restart penguin-addresses.service", "reload postfix"]

    host.commands.clear()
    assert converge(SPEC, host, _passes).outcome is Outcome.APPLIED
    assert not [path for path in host.files if "penguin-addresses" in path]
    assert host.commands == ["stop penguin-addresses.service", "daemon-reload", "reload postfix"]


def test_addresses_of_a_change_that_is_put_back_go_again() -> None:
    host = _installed()
    host.commands.clear()
    assert converge(POOLED, host, _fails).outcome is Outcome.ROLLED_BACK
    assert "/etc/penguin/addresses" not in host.files
    assert host.commands[-3:] == ["stop penguin-addresses.service", "daemon-reload", "reload postfix"]


def test_a_web_server_runs_while_there_is_a_policy_to_show() -> None:
    host = _installed()
    shown = converge(POLICIES, host, _passes)

    assert (shown.outcome, shown.touched) == (Outcome.APPLIED, (Service.NGINX,))
    assert host.active == host.enabled == {*ORDER, Service.NGINX}
    assert b"mta-sts.shop.example" in host.files["/etc/nginx/nginx.conf"].content
    host.told.clear()
    assert converge(POLICIES, host, _passes).touched == ()

    gone = converge(SPEC, host, _passes)
    assert (gone.outcome, host.told) == (Outcome.APPLIED, ["stop nginx"])
    assert host.active == host.enabled == set(ORDER)
    assert "/etc/nginx/nginx.conf" not in host.files


def test_a_web_server_that_was_stopped_runs_again_when_the_rest_is_put_back() -> None:
    host = _installed()
    converge(POLICIES, host, _passes)
    before = dict(host.files)

    assert converge(SPEC, host, _fails).outcome is Outcome.ROLLED_BACK
    assert host.files == before
    assert host.active == host.enabled == {*ORDER, Service.NGINX}


def test_somebody_elses_web_server_is_left_alone() -> None:
    host = FakeHost()
    host.active = {Service.NGINX}

    assert converge(SPEC, host, _passes).outcome is Outcome.APPLIED
    assert Service.NGINX in host.active


def test_a_web_server_that_refuses_its_file_changes_nothing() -> None:
    host = _installed()
    before = dict(host.files)
    host.complaints["nginx"] = "nginx: [emerg] unexpected end of file"
    outcome = converge(POLICIES, host, _passes)

    assert (outcome.outcome, outcome.detail) == (Outcome.REFUSED, "nginx: nginx: [emerg] unexpected end of file")
    assert (host.files, host.told) == (before, [])


def test_a_server_without_a_web_server_goes_on_without_policies() -> None:
    host = _installed()
    host.programs.clear()

    assert converge(POLICIES, host, _passes).outcome is Outcome.APPLIED
    assert host.told == []
    assert "/etc/nginx/nginx.conf" not in host.files
