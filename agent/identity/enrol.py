"""Enrolment: a join token and a new key become a certificate.

The door's certificate is checked against the authority that came with the token in the server's user-data, so a
stranger on the way can neither read the token nor hand out an identity. The token works once: what the control plane
answered is on disk before the token is removed from the join file.
"""

from cryptography.hazmat.primitives.asymmetric import ec

from agent.identity.key import load_key, make_key, signing_request
from agent.identity.store import Enrolment, IdentityStore
from agent.identity.tls import open_channel
from agent.settings import Settings, forget_join_token, read_join
from protos.agent.v1.enrolment_pb2 import EnrolRequest
from protos.agent.v1.enrolment_pb2_grpc import EnrolmentStub

#: Seconds one call may take.
CALL_TIMEOUT = 20.0


async def enrol(settings: Settings, store: IdentityStore, agent_version: str) -> Enrolment:
    """Enrol once and keep the result.

    Raises `grpc.aio.AioRpcError`; its code says what next, see `uplink/reasons.py`. Raises `SettingsError` when the
    join file cannot be read.
    """
    join = read_join(settings.join_file)
    key = _key_for_enrolment(store)
    request = EnrolRequest(join_token=join.join_token or "", csr_der=signing_request(key), agent_version=agent_version)
    async with open_channel(join.enrol_endpoint, settings.pinned_ca_file.read_bytes()) as channel:
        response = await EnrolmentStub(channel).Enrol(request, timeout=CALL_TIMEOUT)
    enrolment = Enrolment(
        certificate_pem=response.certificate_pem,
        ca_pem=response.ca_pem,
        link_endpoint=response.link_endpoint,
        vps_id=response.vps_id,
    )
    store.save(enrolment)
    forget_join_token(settings.join_file)
    return enrolment


def _key_for_enrolment(store: IdentityStore) -> ec.EllipticCurvePrivateKey:
    try:
        return load_key(store.key_file)
    except (FileNotFoundError, ValueError):
        return make_key(store.key_file)
