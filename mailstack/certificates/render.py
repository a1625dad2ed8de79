"""The two files of the served certificate. Both daemons read them as root, before they give up its rights."""

from mailstack import layout
from mailstack.rendered_file import RenderedFile, Service

_READERS = (Service.DOVECOT, Service.POSTFIX)


def render(certificate_pem: bytes, key_pem: bytes) -> tuple[RenderedFile, ...]:
    """Return the chain and the key as files, for the pair that is served or is to be."""
    return (
        RenderedFile(layout.TLS_CHAIN, certificate_pem, _READERS, mode=0o600),
        RenderedFile(layout.TLS_KEY, key_pem, _READERS, mode=0o600),
    )
