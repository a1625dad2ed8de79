"""A moment as clients write it."""

import datetime as dt
import re
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator

_DATE_AND_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")


def _written_out(moment: object) -> object:
    """Refuse what would be taken for seconds since 1970, and is as likely a mistake."""
    if isinstance(moment, dt.datetime) or (isinstance(moment, str) and _DATE_AND_TIME.match(moment)):
        return moment
    raise ValueError("a moment is written as in RFC 3339, with an offset from UTC")


#: RFC 3339, with an offset from UTC.
WrittenTime = Annotated[AwareDatetime, BeforeValidator(_written_out)]
