"""Codes of an authenticator (TOTP, RFC 6238): six digits, a new one every 30 seconds, each of them good once."""

import datetime as dt
import secrets

import pyotp

from control_plane.identity.secret_keys import base32

_STEP_SECONDS = 30
#: Codes of one step before and after are taken: clocks differ, and people type slowly.
_NEIGHBOURS = (0, -1, 1)
_RECOVERY_BYTES = 10
RECOVERY_CODES = 10


def new_totp_secret() -> str:
    """Return a new secret of 160 bits in base 32."""
    return pyotp.random_base32()


def totp_uri(secret: str, email: str, issuer: str) -> str:
    """Return what an authenticator takes as a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=issuer)


def step_of_code(secret: str, code: str, now: dt.datetime, last_step: int) -> int | None:
    """Return the time step whose code this is, of those after `last_step`; None when it is of none."""
    totp = pyotp.TOTP(secret, interval=_STEP_SECONDS)
    present = int(now.timestamp()) // _STEP_SECONDS
    for step in (present + neighbour for neighbour in _NEIGHBOURS):
        if step > last_step and secrets.compare_digest(totp.generate_otp(step), code):
            return step
    return None


def new_recovery_codes() -> list[str]:
    """Return codes of 80 random bits, each of which stands for the authenticator once."""
    return [base32(secrets.token_bytes(_RECOVERY_BYTES)) for _ in range(RECOVERY_CODES)]
