"""Has the root half look at what of the mail server it alone may see, and adds up log-ins since the agent's start."""

import time
from pathlib import Path

from agent.configuration.asking import ask_root_half, look_for_ever
from protos.agent.v1.root_half_pb2 import LookAtMail, RootRequest
from protos.agent.v1.telemetry_pb2 import Logins

#: Seconds for the root half, which may be applying a configuration first.
_ANSWER_SECONDS = 300.0


class MailLook:
    """What was seen last, for the health report; None for what was not, and before the first look."""

    def __init__(self, socket: Path) -> None:
        self.logins: Logins | None = None
        #: Files in Postfix's queue of that name.
        self.corrupt: int | None = None
        self._socket = socket
        self._since_us = time.time_ns() // 1000

    async def run(self) -> None:
        """Look for ever."""
        await look_for_ever(self.look)

    async def look(self) -> None:
        """Look once. Raises what `ask_root_half` raises."""
        request = RootRequest(look_at_mail=LookAtMail(logins_since_us=self._since_us))
        seen = (await ask_root_half(self._socket, request, _ANSWER_SECONDS)).mail_seen
        self.corrupt = seen.corrupt if seen.HasField("corrupt") else None
        if seen.HasField("logins"):
            before = self.logins or Logins()
            self.logins = Logins(
                succeeded=before.succeeded + seen.logins.succeeded, failed=before.failed + seen.logins.failed
            )
            self._since_us = seen.logins.until_us
