"""Why an operator does something: for people to read, kept with the act."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from control_plane.rest.operators.examples import REASON

#: Characters.
LONGEST_REASON = 500

Reason = Annotated[str | None, Field(max_length=LONGEST_REASON, description="For people to read; kept with the act.")]


class Because(BaseModel):
    """Why something is done; the whole body may be left out."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"reason": REASON}})

    reason: Reason = None
