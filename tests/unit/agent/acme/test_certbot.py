import json
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from agent.acme.certbot import ask
from agent.acme.order import Order
from agent.acme.states import State
from agent.acme.verdict import Failure
from mailstack.certificates.pair import Pair

_ORDER = Order("mx1.fleet.example", "https://acme.example/dir", "ops@fleet.example", "some roots")
#: Notes how it was called, and does what its folder says.
_CERTBOT = """\
#!/usr/bin/python3
import json, os, pathlib, sys
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
