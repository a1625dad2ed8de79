"""Has certbot get one certificate for a key of ours.

Over HTTP-01 it listens on port 80 while it does, and only then; over DNS-01 records are asked for (dns_hook.py).

certbot is given a request (CSR) and keeps nothing but its account: neither the key nor the renewal is its affair. Its
own folders are ours, so that the distribution's timer finds nothing of ours to renew.

SECURITY: arguments come from the order, which `mailstack/spec.py` has checked. The key never leaves this process but in
the pair that it returns.
"""

import datetime as dt
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.acme import dns_hook
from agent.acme.order import Order
from agent.acme.states import State
from agent.acme.verdict import Failure, judge
from mailstack import layout
from mailstack.certificates.pair import Pair

#: Seconds for a whole issue; a record takes its time until each name server says it.
TIMEOUT = 180.0
DNS_TIMEOUT = 300.0
#: The hook outlives certbot by these.
_GRACE = 5.0
#: Within the folder: the records that are asked for now.
CHALLENGES = "challenges.json"


def ask(
    order: Order, folder: Path, program: str = "certbot", shown: Path = Path(layout.CERTIFICATE_CHALLENGES_SHOWN)
) -> Pair | Failure:
    """Return the issued pair, or why there is none.

    `folder` keeps certbot's account and log; `shown` is where the records are written down that can be seen in DNS.
    """
    try:
        answer = _ask_once(order, folder, program, shown)
        if isinstance(answer, Failure) and answer.account_gone:
            shutil.rmtree(folder / "certbot" / "accounts", ignore_errors=True)
            answer = _ask_once(order, folder, program, shown)
    finally:
        forget_challenges(folder)
    return answer


def forget_challenges(folder: Path) -> None:
    """Ask for no record any more, and so have them withdrawn."""
    for path in (folder / CHALLENGES, dns_hook.put_by(folder / CHALLENGES)):
        path.unlink(missing_ok=True)


def _ask_once(order: Order, folder: Path, program: str, shown: Path) -> Pair | Failure:
    log = folder / "log" / "letsencrypt.log"
    log.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".issue-") as name:
        work = Path(name)
        key_pem = _write_request(order.names, work / "request.pem")
        command = [*_command(order, folder, work, program), *_challenge(order, folder, shown)]
        try:
            words = _run(command, order, work)
        except subprocess.TimeoutExpired:
            return _given_up(order, folder, shown)
        chain = work / "fullchain.pem"
        if chain.exists():
            return Pair(chain.read_bytes(), key_pem)
    logged = log.read_text(errors="replace") if log.exists() else ""
    return judge(words, logged, order.directory_url, dt.datetime.now(dt.UTC))


def _command(order: Order, folder: Path, work: Path, program: str) -> list[str]:
    return [
        *(program, "certonly", "--non-interactive", "--agree-tos", "--no-eff-email"),
        *("--email", order.account_email, "--server", order.directory_url),
        *("--csr", str(work / "request.pem")),
        *("--cert-path", str(work / "certificate.pem"), "--chain-path", str(work / "chain.pem")),
        *("--fullchain-path", str(work / "fullchain.pem")),
        *("--config-dir", str(folder / "certbot"), "--work-dir", str(work / "certbot")),
        *("--logs-dir", str(folder / "log"), "--max-log-backups", "0"),
    ]


def _challenge(order: Order, folder: Path, shown: Path) -> list[str]:
    if not order.by_dns:
        return ["--standalone", "--preferred-challenges", "http"]
    # certbot has a shell read this one word.
    wait = str(DNS_TIMEOUT + _GRACE)
    hook = shlex.join([sys.executable, "-I", str(dns_hook.__file__), str(folder / CHALLENGES), str(shown), wait])
    return ["--manual", "--preferred-challenges", "dns", "--manual-auth-hook", hook]


def _given_up(order: Order, folder: Path, shown: Path) -> Failure:
    asked = folder / CHALLENGES
    if asked.exists():
        there = dns_hook.values_shown(shown)
        names = [each["name"] for each in json.loads(asked.read_text()) if each["value"] not in there]
        why = f"the control plane did not say within {DNS_TIMEOUT:.0f} s that {', '.join(names)} is there"
        return Failure(State.FAILED, why)
    return Failure(State.FAILED, f"certbot was given up after {_timeout(order):.0f} s")


def _timeout(order: Order) -> float:
    return DNS_TIMEOUT if order.by_dns else TIMEOUT


def _run(command: list[str], order: Order, work: Path) -> str:
    """Run certbot to its end and return what it said; raise `subprocess.TimeoutExpired`."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(work)}
    if order.roots_pem:
        roots = work / "roots.pem"
        roots.write_text(order.roots_pem)
        environment["REQUESTS_CA_BUNDLE"] = str(roots)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
            timeout=_timeout(order),
            check=False,
        )
    except FileNotFoundError:
        return "certbot is not installed"
    return done.stdout.decode(errors="replace")


def _write_request(names: Sequence[str], path: Path) -> bytes:
    """Make a new P-256 key, write a request for its certificate, and return the key in PEM (PKCS#8)."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(request.public_bytes(serialization.Encoding.PEM))
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
