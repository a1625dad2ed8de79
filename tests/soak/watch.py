"""What the control plane says of the servers, read from its rows."""

import asyncio
import time
from collections.abc import Callable

import psycopg

_LOOK_SECONDS = 0.05
_PATIENCE = 120.0
#: Those that were open; one that is only pending was said to nobody.
_ALERTS = """
SELECT v.hostname || ' ' || a.rule || ': ' || a.sentence FROM alerts a JOIN vps_servers v ON v.id = a.vps_id
WHERE a.opened_at IS NOT NULL ORDER BY a.opened_at
"""
_FAILED = "SELECT state = 'fail' FROM health_checks WHERE vps_id = %s AND kind = %s"


class Watch:
    """Looks with the system role."""

    def __init__(self, system_database_url: str) -> None:
        self._url = system_database_url.replace("postgresql+psycopg://", "postgresql://")

    def alerts(self) -> list[str]:
        """Return every alert that was ever open: its server, its rule, its sentence."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            return [sentence for (sentence,) in connection.execute(_ALERTS).fetchall()]

    async def known(self, vps_id: str, kind: str, harm: Callable[[], None]) -> float:
        """Do `harm` to a server and return the seconds until this check of it fails."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            begun = time.monotonic()
            await asyncio.to_thread(harm)
            while connection.execute(_FAILED, (vps_id, kind)).fetchone() != (True,):
                if time.monotonic() - begun > _PATIENCE:
                    return _PATIENCE
                await asyncio.sleep(_LOOK_SECONDS)
            return time.monotonic() - begun
