"""Why somebody holds something back or does something: one line, for people to read."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_LONGEST = 500
# PostgreSQL keeps no NUL in text, and what ends a line is not for a list or a log.
_ONE_LINE = r"^[^\x00-\x1f\x7f]*$"

Reason = Annotated[
    str | None, Field(max_length=_LONGEST, pattern=_ONE_LINE, description="One line, for people to read.")
]


class Because(BaseModel):
    """Why something is done; the whole body may be left out."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"reason": "its provider reports a network fault"}}
    )

    reason: Reason = None
