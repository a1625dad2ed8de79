"""Every situation in which an agent can find itself at the start, and what it then does.

`look` reads the disk, `decide` is pure. The agent's own clock condemns no certificate: a server may boot with a wrong
one, so an expired certificate without a join token is still shown to the hub, and the hub judges.
"""

import enum
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from agent.identity.key import load_key
from agent.identity.store import IdentityStore


class KeyState(enum.Enum):
    """What the key file holds."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    PRESENT = "present"


class CertificateState(enum.Enum):
    """What the enrolment file holds."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    #: Its public key is not this server's.
    FOREIGN = "foreign"
    EXPIRED = "expired"
    CURRENT = "current"
    #: The hub said, since this process started, that it names no server.
    REFUSED = "refused"


class Start(enum.Enum):
    """What to do next."""

    CONNECT = "connect"
    ENROL = "enrol"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Found:
    """The facts that decide."""

    key: KeyState
    certificate: CertificateState
    join_token: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and the sentence for the log and the operator."""

    start: Start
    reason: str


def decide(found: Found) -> Decision:  # noqa: C901, PLR0911, PLR0912 - one case for each situation is the point
    """Return what an agent in this situation does."""
    match found.key, found.certificate, found.join_token:
        case KeyState.PRESENT, CertificateState.CURRENT, False:
            return Decision(Start.CONNECT, "the certificate is current")
        case KeyState.PRESENT, CertificateState.CURRENT, True:
            return Decision(Start.CONNECT, "the certificate is current; the join token is kept in case it is refused")
        case KeyState.PRESENT, CertificateState.EXPIRED, False:
            return Decision(Start.CONNECT, "the certificate has expired by this clock; the hub shall judge")
        case KeyState.PRESENT, CertificateState.EXPIRED, True:
            return Decision(Start.ENROL, "the certificate has expired; there is a join token")
        case KeyState.PRESENT, CertificateState.REFUSED, True:
            return Decision(Start.ENROL, "the hub refused the certificate; there is a join token")
        case KeyState.PRESENT, CertificateState.REFUSED, False:
            return Decision(Start.STOP, "the hub refused the certificate; give this server a new join token")
        case KeyState.PRESENT, CertificateState.MISSING, True:
            return Decision(Start.ENROL, "there is a key and no certificate: an enrolment did not finish")
        case KeyState.PRESENT, CertificateState.MISSING, False:
            return Decision(Start.STOP, "there is a key, but neither certificate nor join token: give it a join token")
        case KeyState.PRESENT, CertificateState.FOREIGN, True:
            return Decision(Start.ENROL, "the certificate belongs to another key; there is a join token")
        case KeyState.PRESENT, CertificateState.FOREIGN, False:
            return Decision(Start.STOP, "the certificate belongs to another key; give this server a new join token")
        case KeyState.PRESENT, CertificateState.UNREADABLE, True:
            return Decision(Start.ENROL, "the certificate cannot be read; there is a join token")
        case KeyState.PRESENT, CertificateState.UNREADABLE, False:
            return Decision(Start.STOP, "the certificate cannot be read; give this server a new join token")
        case KeyState.MISSING, CertificateState.MISSING, True:
            return Decision(Start.ENROL, "first start: there is a join token")
        case KeyState.MISSING, CertificateState.MISSING, False:
            return Decision(Start.STOP, "this server was never invited: there is no join token")
        case KeyState.MISSING, _, True:
            return Decision(Start.ENROL, "there is a certificate without its key; there is a join token")
        case KeyState.MISSING, _, False:
            return Decision(Start.STOP, "there is a certificate without its key; give this server a new join token")
        case KeyState.UNREADABLE, _, True:
            return Decision(Start.ENROL, "the key cannot be read and is replaced; there is a join token")
        case KeyState.UNREADABLE, _, False:
            return Decision(Start.STOP, "the key cannot be read; give this server a new join token")
    raise AssertionError(found)


def look(store: IdentityStore, *, join_token: bool, now: datetime) -> Found:
    """Read what is on the disk."""
    try:
        key = load_key(store.key_file)
    except FileNotFoundError:
        return Found(KeyState.MISSING, _certificate_state(store, None, now), join_token)
    except ValueError:
        return Found(KeyState.UNREADABLE, _certificate_state(store, None, now), join_token)
    return Found(KeyState.PRESENT, _certificate_state(store, key, now), join_token)


def _certificate_state(store: IdentityStore, key: ec.EllipticCurvePrivateKey | None, now: datetime) -> CertificateState:
    try:
        certificate = x509.load_pem_x509_certificate(store.load().certificate_pem)
    except FileNotFoundError:
        return CertificateState.MISSING
    except ValueError:
        return CertificateState.UNREADABLE
    if key is None or certificate.public_key() != key.public_key():
        return CertificateState.FOREIGN
    if certificate.not_valid_after_utc <= now:
        return CertificateState.EXPIRED
    return CertificateState.CURRENT
