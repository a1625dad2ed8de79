"""The certificate of a server that has none yet: self-signed, so that TLS works before any authority was asked.

Other mail servers encrypt to it all the same (RFC 7435); a certificate from an authority takes its place in the same
file.
"""

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailstack.certificates.pair import InvalidPair, Pair, is_self_signed, require_servable, unpack

#: As long as any certificate is accepted by mail programs that look at it (Apple: 398 days).
_LIFE = dt.timedelta(days=398)
_CLOCK_TOLERANCE = dt.timedelta(hours=1)
#: Made again this long before it ends.
_RENEW_BEFORE = dt.timedelta(days=30)


def still_serves(content: bytes, hostname: str, now: dt.datetime) -> bool:
    """Say whether what the file of the served pair holds is for the host name and may stay.

    One from an authority stays to its end, for it is renewed by asking that authority; our own is made again before.
    """
    try:
        pair = unpack(content)
        require_servable(pair, hostname, now)
    except InvalidPair:
        return False
    return not is_self_signed(pair.certificate) or pair.certificate.not_valid_after_utc > now + _RENEW_BEFORE


def make(hostname: str, now: dt.datetime) -> Pair:
    """Make a P-256 key and its certificate.

    P-256, since every TLS 1.2 client knows it and its handshake costs a small server a tenth of RSA-2048's.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    # A common name holds 64 characters at most (RFC 5280, appendix A.1); the name that counts is the alternative one.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_TOLERANCE)
        .not_valid_after(now - _CLOCK_TOLERANCE + _LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), key_pem)
