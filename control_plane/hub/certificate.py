"""The certificate that a port shows, issued anew at half of its life while the hub runs."""

import asyncio
from datetime import timedelta
from typing import Never

from control_plane.enrolment.authority import SERVER_CERTIFICATE_LIFE, Authority
from control_plane.hub.server import ServerTls


class PortCertificate:
    """Issues certificates for the host of one endpoint, given as host:port."""

    def __init__(self, authority: Authority, endpoint: str, life: timedelta = SERVER_CERTIFICATE_LIFE) -> None:
        self._authority = authority
        self._endpoint = endpoint
        self._half_life = life / 2
        self._tls = self._issue()

    def current(self) -> ServerTls:
        """Return what to show now; any thread may ask."""
        return self._tls

    async def keep_fresh(self) -> Never:
        """Issue another one whenever half of its life is over."""
        while True:
            await asyncio.sleep(self._half_life.total_seconds())
            self._tls = self._issue()

    def _issue(self) -> ServerTls:
        issued = self._authority.issue_for(self._endpoint)
        return ServerTls(issued.certificate_pem, issued.private_key_pem, self._authority.certificate_pem)
