"""Lines of a mail log for people: what could be a secret is masked.

Postfix and Dovecot as we configure them log no passwords; debugging options that somebody switched on would. What a
client sends in AUTH is base64, and a password hash begins with its scheme.
"""

import re

_MASK = "[masked]"
_SECRETS = (
    # password=..., pass: ..., passwd="...", token=..., secret=...
    re.compile(
        r"(?i)(?P<kept>\b(?:pass(?:word|wd)?|secret|token|api[_-]?key)\b[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s,;)>]+)"
    ),
    re.compile(r"(?i)(?P<kept>\bAUTH (?:PLAIN|LOGIN|XOAUTH2|OAUTHBEARER) )[A-Za-z0-9+/=]+"),
    re.compile(r"(?i)(?P<kept>\bBearer )[A-Za-z0-9._~+/=-]+"),
    re.compile(r"(?P<kept>\{[A-Z0-9.-]+\})\$?[A-Za-z0-9./$=,+-]{8,}"),
    re.compile(r"(?P<kept>\bpm[ko]_)[A-Za-z0-9_]+"),
)


def masked(line: str) -> str:
    """Return the line without what could be a secret."""
    for secret in _SECRETS:
        line = secret.sub(rf"\g<kept>{_MASK}", line)
    return line
