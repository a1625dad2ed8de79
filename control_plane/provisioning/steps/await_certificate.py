"""Wait a moment for the authority's certificate, so that a server that is called ready shows it.

It never keeps a server from getting ready: mail flows with the certificate that the server has signed itself, and the
server goes on asking the authority by itself. What it came to stands in the server's health.
"""

import datetime as dt

from sqlalchemy import text

from control_plane.pipelines.step import Done, NothingToUndo, Outcome, Wait
from control_plane.provisioning.acme_ports import look_after_ports
from control_plane.provisioning.environment import StepContext

#: Since the configuration was applied.
GRACE = dt.timedelta(seconds=60)
_POLL_SECONDS = 0.3
_STANDING = text(
    "SELECT r.report #>> '{certificate_issue,state}' AS state, r.report #>> '{certificate_issue,detail}' AS detail,"
    " v.applied_at < now() - CAST(:grace AS interval) AS late"
    " FROM vps_servers v LEFT JOIN vps_reports r ON r.tenant_id = v.tenant_id AND r.vps_id = v.id WHERE v.id = :id"
)
#: States of agent/acme/states.py in which more is to be expected.
_UNDECIDED = frozenset({None, "asking", "self_signed", "waiting_for_port"})
#: Between two looks while the provider is to open port 80.
_PORT_SECONDS = 2.0


class AwaitCertificate(NothingToUndo):
    """Look at what the server last reported, and have port 80 opened where its provider keeps it shut."""

    name = "await_certificate"
    patience = dt.timedelta(minutes=10)

    async def run(self, context: StepContext) -> Outcome:
        """Go on when the certificate is there, when it cannot be had now, or when that takes too long."""
        if not context.environment.settings.acme_directory:
            return Done({"certificate": "self_signed", "detail": "no certificate authority is set"})
        async with context.environment.database.system() as session:
            standing = (await session.execute(_STANDING, {"id": context.subject_id, "grace": GRACE})).one()
        if standing.state not in _UNDECIDED:
            await self._look_after_port(context)
            return Done({"certificate": standing.state, "detail": standing.detail})
        if standing.late:
            return Done({"certificate": "self_signed", "detail": "the authority has not issued one yet"})
        if standing.state == "waiting_for_port":
            await self._look_after_port(context)
            return Wait("port 80 is being opened for the server's certificate", _PORT_SECONDS)
        return Wait("the certificate authority has not issued the server's certificate yet", _POLL_SECONDS)

    async def _look_after_port(self, context: StepContext) -> None:
        await context.fence()
        await look_after_ports(context.environment.database, context.environment.providers, context.subject_id)
