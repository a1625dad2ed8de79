"""Enrolment: a server that has only its join token gets a certificate.

SECURITY: anyone may call. The token is burnt before anything else is judged, and stays burnt when the rest of the
request is refused; only a fault of ours leaves it as it was, so that the server can come again.
"""

import logging

from grpc.aio import ServicerContext

from control_plane.clock import Clock, utc_now
from control_plane.enrolment.authority import Authority, IssuedCertificate
from control_plane.enrolment.certificates import record_certificate
from control_plane.enrolment.first_contact import note_address
from control_plane.enrolment.identity import AgentIdentity
from control_plane.enrolment.tokens import burn_join_token
from control_plane.errors import PenguinError
from db.session import Database
from protos.agent.v1.enrolment_pb2 import EnrolRequest, EnrolResponse
from protos.agent.v1.enrolment_pb2_grpc import EnrolmentServicer

_log = logging.getLogger(__name__)


class EnrolmentService(EnrolmentServicer):
    """Serves the enrolment port."""

    def __init__(self, database: Database, authority: Authority, link_endpoint: str, clock: Clock = utc_now) -> None:
        self._database = database
        self._authority = authority
        self._link_endpoint = link_endpoint
        self._clock = clock

    async def Enrol(  # noqa: N802 - named by the protocol
        self, request: EnrolRequest, context: ServicerContext[EnrolRequest, EnrolResponse]
    ) -> EnrolResponse:
        """Burn the token and issue a certificate for the key in the request."""
        outcome = await self._burn_and_issue(request, context.peer())
        if isinstance(outcome, PenguinError):
            raise outcome
        identity, issued = outcome
        _log.info("enrolled %s with certificate %s", identity.vps_id, issued.serial)
        return EnrolResponse(
            certificate_pem=issued.pem,
            ca_pem=self._authority.certificate_pem,
            link_endpoint=self._link_endpoint,
            vps_id=str(identity.vps_id),
        )

    async def _burn_and_issue(
        self, request: EnrolRequest, peer: str
    ) -> tuple[AgentIdentity, IssuedCertificate] | PenguinError:
        """Return a refusal instead of raising it, so that the transaction in which the token was burnt commits."""
        async with self._database.system() as session:
            try:
                identity = await burn_join_token(session, request.join_token, self._clock())
                issued = self._authority.issue_agent(request.csr_der, identity)
            except PenguinError as refusal:
                return refusal
            await record_certificate(session, identity, issued)
            await note_address(session, identity, peer)
            return identity, issued
