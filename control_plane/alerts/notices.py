"""What is to be told to whom: notices, written in the transaction that finds reason for them.

They follow from rows alone, again and again: what is open and was not told to a channel that wants it, is told; what
was told and is over, too. So a silence that is over, a channel that is new and a worker that died need no case of their
own, and a fingerprint keeps each from being told twice.
"""

import datetime as dt
from collections.abc import Sequence
from importlib import resources

from sqlalchemy.ext.asyncio import AsyncSession

#: So many servers of one provider and region that died within `TOGETHER` are one outage.
ENOUGH_FOR_OUTAGE = 3
TOGETHER = dt.timedelta(minutes=5)
#: Notices are kept for so long after they were told; ends of alerts that are older are not told any more.
KEPT = dt.timedelta(days=30)
LATE = dt.timedelta(days=1)

_STATEMENTS = [
    statement
    for statement in resources.files("control_plane.alerts").joinpath("notices.sql").read_text().split(";\n")
    if statement.strip()
]


async def write_notices(outage_rules: Sequence[str], session: AsyncSession, now: dt.datetime) -> None:
    """Write what is to be told now; alerts of `outage_rules` as one when many are of one provider and region."""
    values = {
        "now": now,
        "outage_rules": list(outage_rules),
        "enough": ENOUGH_FOR_OUTAGE,
        "together": TOGETHER,
        "late": LATE,
        "kept": KEPT,
    }
    connection = await session.connection()
    for statement in _STATEMENTS:
        await connection.exec_driver_sql(statement, values)
