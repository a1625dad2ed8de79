"""What root alone may see of the mail server: who logged in at Dovecot, and what Postfix set aside as damaged.

Dovecot tells the system's journal of log-ins, and not the mail log, which Postfix writes itself. Whatever cannot be
told is left out of the answer, and is asked for again.

SECURITY: users name themselves in these lines, and only behind `user=<`; nothing is looked for there. Of the request a
number alone reaches a command line.
BUGS: where the clock is set back, log-ins of that time are counted with the next ones, or not at all.
"""

import re

from mailstack import layout
from mailstack.apply.host import Host
from protos.agent.v1.root_half_pb2 import LoginsSeen, LookAtMail, MailSeen

#: Lines that are counted at most; Dovecot's journal would have to be full of attempts for minutes.
_MOST_LINES = 50_000
_CORRUPT = f"{layout.POSTFIX_QUEUE}/corrupt"
_SUCCEEDED = re.compile(r"^imap-login: (?:Login|Logged in): user=<", re.MULTILINE)
#: Of a connection that ended: Dovecot 2.4 begins with "Login aborted", 2.3 with "Disconnected" or "Aborted login".
_FAILED = re.compile(r"^imap-login: [^<\n]*\(auth failed, (\d+) attempts in \d+ secs\)", re.MULTILINE)


def look_at_mail(asked: LookAtMail, host: Host) -> MailSeen:
    """Look once."""
    until_us = int(host.now().timestamp() * 1_000_000)
    return MailSeen(logins=_logins(asked.logins_since_us, until_us, host), corrupt=_corrupt(host))


def count_logins(lines: str) -> tuple[int, int]:
    """Return how many log-ins succeeded and failed by what Dovecot said, a line each.

    Whoever fails first and succeeds over the same connection has succeeded.
    """
    return len(_SUCCEEDED.findall(lines)), sum(map(int, _FAILED.findall(lines)))


def _logins(since_us: int, until_us: int, host: Host) -> LoginsSeen | None:
    # Both ends belong to what journalctl shows.
    period = (f"--since=@{_seconds(since_us)}", f"--until=@{_seconds(until_us - 1)}")
    output = host.run(
        [
            *("journalctl", "--quiet", "--output=cat", *period, "--grep=^imap-login: ", f"--lines={_MOST_LINES}"),
            "_SYSTEMD_UNIT=dovecot.service",
        ]
    )
    # It fails as well, without a word, when it finds nothing.
    if output.exit_code and output.stderr.strip():
        return None
    succeeded, failed = count_logins(output.stdout)
    return LoginsSeen(succeeded=succeeded, failed=failed, until_us=until_us)


def _seconds(microseconds: int) -> str:
    return f"{microseconds // 1_000_000}.{microseconds % 1_000_000:06}"


def _corrupt(host: Host) -> int | None:
    output = host.run(["find", _CORRUPT, "-type", "f", "-printf", "."])
    return len(output.stdout) if not output.exit_code else None
