"""Renewal: a new certificate for the same key, long before the old one ends.

It is due at half of the certificate's life, which leaves the other half for a control plane that is away. It goes over
the link, so only a server whose certificate is still good can renew.
"""

import dataclasses
from datetime import datetime

import grpc.aio
from cryptography import x509

from agent.identity.key import load_key, signing_request
from agent.identity.store import Enrolment, IdentityStore
from protos.agent.v1.link_pb2 import RenewRequest
from protos.agent.v1.link_pb2_grpc import LinkStub

#: Seconds one call may take.
CALL_TIMEOUT = 20.0


def renewal_due(certificate_pem: bytes) -> datetime:
    """Return the middle of the certificate's life."""
    certificate = x509.load_pem_x509_certificate(certificate_pem)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_before_utc + life / 2


async def renew(channel: grpc.aio.Channel, store: IdentityStore) -> Enrolment:
    """Ask for a new certificate over the link and keep it. Raises `grpc.aio.AioRpcError`."""
    request = RenewRequest(csr_der=signing_request(load_key(store.key_file)))
    response = await LinkStub(channel).Renew(request, timeout=CALL_TIMEOUT)
    renewed = dataclasses.replace(store.load(), certificate_pem=response.certificate_pem, ca_pem=response.ca_pem)
    store.save(renewed)
    return renewed
