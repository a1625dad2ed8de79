"""Has opendkim sign a message, as it signs what people submit: its socket is not the network half's to speak to.

SECURITY: the network half has the keys itself; here it chooses a domain and nothing else of the message.
"""

import time
from email.utils import formatdate

from agent.configuration.milter import MilterFailed, fields_added
from mailstack.syntax import InvalidSpec, require_domain
from protos.agent.v1.root_half_pb2 import SignedTrial, SignedTrials, TrySigning

_BODY = b"Nobody is sent this.\r\n"
#: Seconds after which no other domain is tried: whoever else wants the root half waits.
_MOST_SECONDS = 30.0


def try_signing(asked: TrySigning, socket: str) -> SignedTrials:
    """Return a message from each of the domains as opendkim leaves it; none from there on where it does not answer."""
    trials, started = SignedTrials(), time.monotonic()
    for domain in asked.domains:
        if time.monotonic() - started > _MOST_SECONDS:
            break
        try:
            require_domain(domain)
            trials.trials.append(SignedTrial(domain=domain, message=_trial(domain, socket)))
        except (OSError, MilterFailed, InvalidSpec):
            break
    return trials


def _trial(domain: str, socket: str) -> bytes:
    sender = f"postmaster@{domain}"
    fields = [("From", sender), ("To", sender), ("Date", formatdate()), ("Subject", "Signing test")]
    # Milters end lines within a field by LF alone.
    added = [(name, value.replace("\n", "\r\n")) for name, value in fields_added(socket, sender, fields, _BODY)]
    head = "".join(f"{name}: {value}\r\n" for name, value in (*added, *fields))
    return head.encode() + b"\r\n" + _BODY
