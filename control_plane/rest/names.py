"""What people call things: one line that can be read, and told from another."""

from typing import Annotated

from pydantic import Field

# No control characters and no line breaks (Unicode's too), and no space at either end.
_EDGE = r"[^\x00-\x20\x7f-\xa0\u2028\u2029]"
_INNER = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]"

#: As the columns have it, at most 255 characters.
Name = Annotated[str, Field(max_length=255, pattern=f"^{_EDGE}({_INNER}*{_EDGE})?$", examples=["Fish Shop"])]
