"""Write header fields (RFC 5322, RFC 2047): pure, 7-bit, folded without breaking a word.

The standard library's header registry is not used for it: it folds a long word, such as the URL of a List-Unsubscribe
field, by turning it into encoded words, which receivers then do not read as a URL. Here a field is folded only where
it has white space, and what is not ASCII becomes encoded words of at most 75 characters.
"""

import re
from email.header import Header

from control_plane.errors import InvalidInput
from control_plane.inboxes.addresses import EmailAddress, parse_address
from control_plane.inboxes.header_text import check_header_text

#: RFC 5322, section 2.1.1: lines should have 78 octets and must have no more than 998, without CRLF.
PREFERRED_LINE = 78
MAX_LINE = 998

#: Fields that a sender of mail may set, beside those that begin with a prefix. All others are ours to write, or would
#: let a tenant contradict the envelope, the signature or the body.
ALLOWED_FIELDS = frozenset({"reply-to", "in-reply-to", "references"})
ALLOWED_PREFIXES = ("list-", "x-")

_FIELD_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?")
_WORD = re.compile(r"[ \t]*[^ \t]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
# None of these ever goes back over what it took (possessive, `++`): texts are long, and their senders are not friends.
# One of a list of mailboxes, with the comma after it: Name <a@b>, "Name" <a@b> or a@b.
_MAILBOX = re.compile(
    r"""[ \t]*+(?:(?:"(?P<quoted>(?:[^"\\]|\\[ -~])*+)"[ \t]*+|(?P<name>[^"<>,;:()\\@]*+))<(?P<address>[^<> \t]++)>"""
    r"""|(?P<bare>[^<>,;:()" \t]++))[ \t]*+(?:,(?=.)|$)"""
)
_MESSAGE_IDS = re.compile(r"<[!-;=?A-~]++@[!-;=?-~]++>(?:[ \t]++<[!-;=?A-~]++@[!-;=?-~]++>)*+")


def unstructured(name: str, text: str) -> str:
    """Return a field of free text, such as Subject; `text` has passed `check_header_text`."""
    if text.isascii() and "=?" not in text:
        field = fold(name, text)
        if max(map(len, field.split("\r\n"))) <= MAX_LINE:
            return field
    return f"{name}: {_encoded_words(name, text)}"


def mailbox(name: str, display_name: str, address: str) -> str:
    """Return an address field with one mailbox; `display_name` has passed `check_header_text` and may be empty."""
    return fold(name, _mailbox(name, display_name, address))


def mailboxes(name: str, text: str, field: str) -> str:
    """Return an address field with the mailboxes that a text lists by commas; raise `InvalidInput`."""
    return fold(name, ", ".join(_mailboxes(name, check_header_text(text, field), field)))


def read_mailbox(text: str, field: str) -> tuple[str, EmailAddress]:
    """Return the name, which may be empty, and the address of one mailbox: `Name <a@b>` or `a@b`.

    Raises `InvalidInput`, also for more than one.
    """
    found = _MAILBOX.fullmatch(check_header_text(text, field))
    if found is None:
        raise InvalidInput("This is one address: name@domain or Name <name@domain>.", field)
    return _display_name(found), parse_address(found["address"] or found["bare"], field)


def custom(name: str, value: str, field: str) -> str:
    """Return a field that the sender set; raise `InvalidInput` when it is not allowed or not right."""
    lowered = name.lower()
    if not _FIELD_NAME.fullmatch(name) or not (lowered in ALLOWED_FIELDS or lowered.startswith(ALLOWED_PREFIXES)):
        raise InvalidInput("This header may not be set: Reply-To, In-Reply-To, References, List-* and X-* may.", field)
    text = check_header_text(value, field)
    if not text:
        raise InvalidInput("A header must not be empty.", field)
    if lowered == "reply-to":
        return fold(name, ", ".join(_mailboxes(name, text, field)))
    if lowered.startswith("x-"):
        return unstructured(name, text)
    return _ascii_field(name, text, field)


def fold(name: str, value: str) -> str:
    """Return `name: value` with CRLF before words that would pass the preferred length; no word is broken."""
    if len(name) + 2 + len(value) <= PREFERRED_LINE and value and value[-1] not in " \t":
        return f"{name}: {value}"
    lines = [f"{name}:"]
    for word in _WORD.findall(f" {value}"):
        if len(lines[-1]) + len(word) > PREFERRED_LINE and lines[-1] != f"{name}:":
            lines.append(word)
        else:
            lines[-1] += word
    return "\r\n".join(lines)


def _ascii_field(name: str, text: str, field: str) -> str:
    if not text.isascii():
        raise InvalidInput("This header must be ASCII.", field)
    if name.lower() in {"in-reply-to", "references"} and not _MESSAGE_IDS.fullmatch(text):
        raise InvalidInput("This header holds message ids: <left@right>, separated by spaces.", field)
    folded = fold(name, text)
    if max(map(len, folded.split("\r\n"))) > MAX_LINE:
        raise InvalidInput(f"A word in this header is too long for a line of {MAX_LINE} characters.", field)
    return folded


def _mailboxes(name: str, text: str, field: str) -> list[str]:
    written, position = [], 0
    while found := _MAILBOX.match(text, position):
        address = parse_address(found["address"] or found["bare"], field)
        written.append(_mailbox(name, _display_name(found), str(address)))
        position = found.end()
        if position == len(text):
            return written
    raise InvalidInput("This header holds addresses: name@domain or Name <name@domain>, separated by commas.", field)


def _mailbox(name: str, display_name: str, address: str) -> str:
    if not display_name:
        return address
    if not display_name.isascii() or "=?" in display_name:
        unfolded = _encoded_words(name, display_name).replace("\r\n", "")
        return f"{unfolded} <{address}>"
    if _ATOMS.fullmatch(display_name):
        return f"{display_name} <{address}>"
    quoted = display_name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address}>'


def _encoded_words(name: str, text: str) -> str:
    return Header(text, "utf-8", header_name=name, maxlinelen=75).encode(linesep="\r\n")


def _display_name(found: re.Match[str]) -> str:
    name = _unquoted(found["quoted"]) if found["quoted"] else found["name"] or ""
    return name.strip(" \t")


def _unquoted(content: str) -> str:
    return re.sub(r"\\(.)", r"\1", content)
