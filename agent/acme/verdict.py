"""What a failure of certbot means, from its last words and its log. Pure.

ACME's problem types are those of RFC 8555 section 6.7; certbot names them in what it logs. Its exit status is 1 for
everything.
"""

import datetime as dt
import email.utils
import re
from dataclasses import dataclass

from agent.acme.states import State

_PROBLEM = re.compile(r"urn:ietf:params:acme:error:(\w+)")
_LIMITED = re.compile(r"^HTTP 429$", re.MULTILINE)
_BAD_STATUS = re.compile(r"^HTTP (?:429|5\d\d)$", re.MULTILINE)
_RETRY_AFTER = re.compile(r"^Retry-After: *(.+)$", re.MULTILINE | re.IGNORECASE)
#: What certbot's HTTP library says of an authority that cannot be spoken to.
_NO_ANSWER = re.compile(r"ConnectionError|NewConnectionError|ConnectTimeout|ReadTimeout|SSLError|Max retries exceeded")
_PORT_TAKEN = re.compile(r"Could not bind TCP port 80|Problem binding to port 80")
#: The authority is out of order, or in a muddle that another attempt may find ended.
_TRANSIENT = frozenset({"serverInternal", "badNonce", "orderNotReady"})
#: A longer wait than a day is looked at again after a day.
_LONGEST_WAIT = 86400.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A state, a sentence, and the seconds that the authority wants to be left alone (0: it did not say)."""

    state: State
    why: str
    retry_after: float = 0.0
    #: The authority has forgotten our account: a new one helps.
    account_gone: bool = False


def judge(words: str, log: str, directory_url: str, now: dt.datetime) -> Failure:
    """Return what the failure means; `words` is what certbot said, `log` what it logged in this run."""
    problems = _PROBLEM.findall(log) or _PROBLEM.findall(words)
    if "accountDoesNotExist" in problems:
        return Failure(State.REFUSED, f"{directory_url} does not know our account any more", account_gone=True)
    if problems or _BAD_STATUS.search(log):
        return _answered(problems[-1] if problems else "", _last_line(words), log, directory_url, now)
    if _PORT_TAKEN.search(words + log):
        return Failure(State.FAILED, "port 80, at which the authority asks back, is taken by another program")
    if _NO_ANSWER.search(words + log):
        return Failure(State.UNREACHABLE, f"{directory_url} does not answer")
    return Failure(State.FAILED, f"certbot failed: {_last_line(words)}")


def _answered(problem: str, said: str, log: str, directory_url: str, now: dt.datetime) -> Failure:
    """Return what it means that the authority answered with a problem, or with a status that is one."""
    if problem == "rateLimited" or _LIMITED.search(log):
        return Failure(State.LIMITED, f"{directory_url} limits us: {said}", _retry_after(log, now))
    if not problem or problem in _TRANSIENT:
        return Failure(State.UNREACHABLE, f"{directory_url} is out of order: {said}", _retry_after(log, now))
    return Failure(State.REFUSED, f"{directory_url} does not issue ({problem}): {said}")


def _retry_after(log: str, now: dt.datetime) -> float:
    """Return the seconds of the last Retry-After, which may be a number or a date (RFC 9110 section 10.2.3)."""
    found = _RETRY_AFTER.findall(log)
    if not found:
        return 0.0
    value = found[-1].strip()
    if value.isdecimal():
        return min(float(value), _LONGEST_WAIT)
    try:
        wanted = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if wanted.tzinfo is None:
        # -0000: UTC, from who knows where (RFC 5322 section 3.3).
        wanted = wanted.replace(tzinfo=dt.UTC)
    return min(max(0.0, (wanted - now).total_seconds()), _LONGEST_WAIT)


def _last_line(words: str) -> str:
    """Return what certbot said last, without its advice to look into its log."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Ask for help", "See the logfile", "Saving debug log"))]
    return told[-1][:300] if told else "it did not say why"
