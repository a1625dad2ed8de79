import dataclasses
import json
import stat
import sys
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent.acme import certbot, dns_hook
from agent.acme.certbot import CHALLENGES, ask
from agent.acme.order import Order
from agent.acme.states import State
from agent.acme.verdict import Failure
from mailstack.certificates.pair import Pair

_ORDER = Order("mx1.fleet.example", "https://acme.example/dir", "ops@fleet.example", "some roots")
#: Notes how it was called, and does what its folder says.
_CERTBOT = """\
#!/usr/bin/python3
import json, os, pathlib, subprocess, sys
folder = pathlib.Path(__file__).parent
option = lambda name: pathlib.Path(sys.argv[sys.argv.index(name) + 1])
calls = folder / "calls.json"
before = json.loads(calls.read_text()) if calls.exists() else []
roots = pathlib.Path(os.environ["REQUESTS_CA_BUNDLE"]).read_text()
request = option("--csr").read_text()
calls.write_text(json.dumps([*before, {"arguments": sys.argv[1:], "roots": roots, "request": request}]))
account = option("--config-dir") / "accounts" / "one"
if (folder / "forgets").exists() and account.exists():
    option("--logs-dir").mkdir(exist_ok=True)
    (option("--logs-dir") / "letsencrypt.log").write_text("urn:ietf:params:acme:error:accountDoesNotExist")
    sys.exit(1)
if (folder / "fails").exists():
    print("it has its reasons")
    sys.exit(1)
if "--manual" in sys.argv:
    names = (folder / "names").read_text().split()
    for place, name in enumerate(names):
        told = {"CERTBOT_DOMAIN": name, "CERTBOT_VALIDATION": "VWX"[place] * 43}
        told["CERTBOT_REMAINING_CHALLENGES"] = str(len(names) - place - 1)
        # certbot has a shell run its hooks.
        subprocess.run(["/bin/sh", "-c", str(option("--manual-auth-hook"))], env=os.environ | told)
account.parent.mkdir(parents=True, exist_ok=True)
account.touch()
option("--fullchain-path").write_text("the chain")
"""


def _certbot(folder: Path) -> str:
    program = folder / "certbot"
    program.write_text(_CERTBOT)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def test_certbot_gets_a_request_and_never_the_key(tmp_path: Path) -> None:
    program, folder = _certbot(tmp_path), tmp_path / "state"
    folder.mkdir()
    pair = ask(_ORDER, folder, program)

    (call,) = json.loads((tmp_path / "calls.json").read_text())
    request = x509.load_pem_x509_csr(call["request"].encode())
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert isinstance(pair, Pair)
    assert pair.chain_pem == b"the chain"
    assert names.get_values_for_type(x509.DNSName) == [_ORDER.hostname]
    assert load_pem_private_key(pair.key_pem, None).public_key() == request.public_key()
    assert call["roots"] == _ORDER.roots_pem
    assert {"--standalone", "--non-interactive", _ORDER.directory_url, _ORDER.account_email} <= set(call["arguments"])
    assert b"PRIVATE KEY" not in b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_an_account_that_the_authority_has_forgotten_is_made_anew(tmp_path: Path) -> None:
    program, folder = _certbot(tmp_path), tmp_path / "state"
    folder.mkdir()
    ask(_ORDER, folder, program)
    (tmp_path / "forgets").touch()
    assert isinstance(ask(_ORDER, folder, program), Pair)
    assert len(json.loads((tmp_path / "calls.json").read_text())) == 3


def test_what_certbot_says_of_its_failure_is_told(tmp_path: Path) -> None:
    program, folder = _certbot(tmp_path), tmp_path / "state"
    folder.mkdir()
    (tmp_path / "fails").touch()
    assert ask(_ORDER, folder, program) == Failure(State.FAILED, "certbot failed: it has its reasons")


def test_a_missing_certbot_is_told(tmp_path: Path) -> None:
    failure = ask(_ORDER, tmp_path, str(tmp_path / "nowhere"))
    assert failure == Failure(State.FAILED, "certbot failed: certbot is not installed")


@pytest.fixture
def over_dns(tmp_path: Path) -> Order:
    """An order for three names, which the fake looks for one after the other."""
    (tmp_path / "state").mkdir()
    order = dataclasses.replace(_ORDER, by_dns=True, further_names=("autoconfig.a.example", "mta-sts.a.example"))
    (tmp_path / "names").write_text(" ".join(order.names))
    return order


def test_over_dns_the_authority_looks_once_all_records_are_known_to_be_there(tmp_path: Path, over_dns: Order) -> None:
    program, folder, shown = _certbot(tmp_path), tmp_path / "state", tmp_path / "shown"
    answers: list[Pair | Failure] = []
    asking = threading.Thread(target=lambda: answers.append(ask(over_dns, folder, program, shown)))
    asking.start()
    while not (folder / CHALLENGES).exists():
        assert asking.is_alive()
    seen = json.loads((folder / CHALLENGES).read_text())
    shown.write_text("\n".join(["one from before", *(each["value"] for each in seen)]))
    asking.join()

    (call,) = json.loads((tmp_path / "calls.json").read_text())
    assert isinstance(answers[0], Pair)
    assert seen == [
        {"name": f"_acme-challenge.{name}", "value": letter * 43}
        for name, letter in zip(over_dns.names, "VWX", strict=True)
    ]
    assert "--standalone" not in call["arguments"]
    assert list(folder.glob("*challenges*")) == list(folder.glob(".*challenges*")) == []


def test_while_a_record_is_not_there_the_hook_keeps_certbot_from_going_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, shown = tmp_path / CHALLENGES, tmp_path / "shown"
    shown.write_text("V" * 43)
    told = {"CERTBOT_DOMAIN": "mx1.fleet.example", "CERTBOT_VALIDATION": "W" * 43, "CERTBOT_REMAINING_CHALLENGES": "0"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["dns_hook.py", str(asked), str(shown), "0"])
    assert dns_hook.main() == 1
    shown.write_text("V" * 43 + "\n" + "W" * 43)
    assert dns_hook.main() == 0


def test_records_that_did_not_come_are_named(tmp_path: Path, over_dns: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    program, folder, shown = tmp_path / "certbot", tmp_path / "state", tmp_path / "shown"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(certbot, "DNS_TIMEOUT", 0.1)
    wanted = [{"name": f"_acme-challenge.{name}", "value": name} for name in over_dns.names]
    (folder / CHALLENGES).write_text(json.dumps(wanted))
    shown.write_text("mx1.fleet.example\nmta-sts.a.example")
    answer = ask(over_dns, folder, str(program), shown)

    assert isinstance(answer, Failure)
    assert (answer.state, answer.why.partition(" s that ")[2]) == (
        State.FAILED,
        "_acme-challenge.autoconfig.a.example is there",
    )
    assert list(folder.iterdir()) == []
