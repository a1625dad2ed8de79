"""Watch one mailbox over IMAPS and print each message as it arrives: the demo's receiving end.

Run inside the local world's namespace, where the servers are: `python -m control_plane.cli.mailbox_watch HOST ADDRESS
NAMESERVER`, the password as one line on standard input. Prints one JSON object a line: first `{"ready": true}`, then
for each new message `subject`, `seen_at` (seconds since the epoch), `authentication_results` as the receiving server
wrote them, `dkim_verified`, the signature checked once more here with dkimpy, its key fetched from NAMESERVER, and
`dkim_selector`, that of the signature.

Ends when standard input closes. The server's certificate is self-signed until certificates are issued by an authority,
so it is not checked here; nothing but the demo's own mailbox is at stake.
"""

import email
import email.policy
import imaplib
import json
import re
import select
import ssl
import sys
import time
from email.message import EmailMessage

import dkim
import dns.exception
import dns.resolver

_POLL_SECONDS = 0.02
_TIMEOUT_SECONDS = 20
_SELECTOR = re.compile(r"(?:^|;)\s*s=\s*([A-Za-z0-9.-]+)")


def main() -> None:
    """Watch until standard input closes."""
    host, address, nameserver = sys.argv[1:4]
    password = sys.stdin.readline().rstrip("\n")
    local_dns = LocalDns(nameserver)
    with imaplib.IMAP4_SSL(local_dns.address(host), ssl_context=_unverified(), timeout=_TIMEOUT_SECONDS) as mailbox:
        mailbox.login(address, password)
        _, count = mailbox.select("INBOX", readonly=True)
        seen = int(count[0] or 0)
        _print({"ready": True})
        _watch(mailbox, seen, local_dns)


def _watch(mailbox: imaplib.IMAP4_SSL, seen: int, local_dns: "LocalDns") -> None:
    while not select.select([sys.stdin], [], [], _POLL_SECONDS)[0]:
        mailbox.noop()
        exists = _exists(mailbox, seen)
        seen_at = time.time()
        for number in range(seen + 1, exists + 1):
            _print(_describe(_fetch(mailbox, number), seen_at, local_dns))
        seen = exists


def _exists(mailbox: imaplib.IMAP4_SSL, before: int) -> int:
    counts = mailbox.response("EXISTS")[1]
    numbers = [int(count) for count in counts if count is not None]
    return max(numbers, default=before)


def _fetch(mailbox: imaplib.IMAP4_SSL, number: int) -> bytes:
    _, parts = mailbox.fetch(str(number), "(BODY.PEEK[])")
    return next(part[1] for part in parts if isinstance(part, tuple))


def _describe(raw: bytes, seen_at: float, local_dns: "LocalDns") -> dict[str, object]:
    message = email.message_from_bytes(raw, _class=EmailMessage, policy=email.policy.default)
    return {
        "subject": str(message["Subject"]),
        "seen_at": seen_at,
        "authentication_results": [str(value) for value in message.get_all("Authentication-Results", [])],
        "dkim_verified": bool(dkim.verify(raw, dnsfunc=local_dns.text)),
        "dkim_selector": _selector(message),
    }


def _selector(message: EmailMessage) -> str | None:
    """Return the selector of the first signature (RFC 6376, section 3.5)."""
    found = _SELECTOR.search(str(message.get("DKIM-Signature", "")))
    return found[1] if found else None


class LocalDns:
    """Looks names up at the local world's name server, which this machine's own resolver does not know."""

    def __init__(self, nameserver: str) -> None:
        self._resolver = dns.resolver.Resolver(configure=False)
        self._resolver.nameservers = [nameserver]

    def address(self, host: str) -> str:
        """Return the IPv4 address of `host`."""
        return str(self._resolver.resolve(host, "A")[0])

    def text(self, name: bytes, timeout: int = 5) -> bytes | None:
        """Return the TXT record of `name`, its strings joined, or None where there is none."""
        try:
            answer = self._resolver.resolve(name.decode("ascii"), "TXT", lifetime=timeout)
        except dns.exception.DNSException:
            return None
        return b"".join(answer[0].strings)


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _print(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
