import datetime as dt

import pytest

from agent.acme.states import State
from agent.acme.verdict import judge

_URL = "https://acme.example/dir"
_NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
_LIMITED = """\
2026-11-22 12:00:00,000:DEBUG:acme.client:Received response:
HTTP 429
Content-Type: application/problem+json
Retry-After: {}

{{
  "type": "urn:ietf:params:acme:error:rateLimited",
  "detail": "too many certificates already issued"
}}
"""
_WORDS = """\
Saving debug log to /var/lib/penguin-certificates/log/letsencrypt.log
too many certificates already issued
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile for more details.
"""


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3600", 3600.0),
        ("Sun, 22 Nov 2026 12:10:00 GMT", 600.0),
        ("Sun, 22 Nov 2026 12:10:00 -0000", 600.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
        ("99999999", 86400.0),
        ("soon", 0.0),
    ],
)
def test_a_limit_is_kept_for_as_long_as_the_authority_says(value: str, seconds: float) -> None:
    failure = judge(_WORDS, _LIMITED.format(value), _URL, _NOW)
    assert failure.state is State.LIMITED
    assert failure.retry_after == seconds
    assert failure.why == f"{_URL} limits us: too many certificates already issued"


@pytest.mark.parametrize(
    ("words", "log", "state"),
    [
        ("Challenge failed", "HTTP 200\nurn:ietf:params:acme:error:unauthorized", State.REFUSED),
        ("Challenge failed", "HTTP 200\nurn:ietf:params:acme:error:dns", State.REFUSED),
        ("bad nonce", "HTTP 400\nurn:ietf:params:acme:error:badNonce", State.UNREACHABLE),
        ("oops", "HTTP 500\nurn:ietf:params:acme:error:serverInternal", State.UNREACHABLE),
        ("oops", "Received response:\nHTTP 503\nServer: front", State.UNREACHABLE),
        ("An unexpected error occurred: ConnectionError", "", State.UNREACHABLE),
        ("x", "requests.exceptions.SSLError: certificate verify failed", State.UNREACHABLE),
        ("Could not bind TCP port 80 because it is already in use", "", State.FAILED),
        ("certbot is not installed", "", State.FAILED),
        ("", "", State.FAILED),
    ],
)
def test_each_kind_of_failure_has_a_name(words: str, log: str, state: State) -> None:
    failure = judge(words, log, _URL, _NOW)
    assert failure.state is state
    assert failure.why
    assert not failure.account_gone


def test_a_nonce_that_was_refused_once_does_not_hide_what_came_of_it() -> None:
    log = "HTTP 400\nurn:ietf:params:acme:error:badNonce\nHTTP 403\nurn:ietf:params:acme:error:unauthorized"
    assert judge("no", log, _URL, _NOW).state is State.REFUSED


def test_a_forgotten_account_is_told_apart() -> None:
    assert judge("no", "HTTP 400\nurn:ietf:params:acme:error:accountDoesNotExist", _URL, _NOW).account_gone
