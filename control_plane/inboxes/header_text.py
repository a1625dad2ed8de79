"""Text that goes into one line of a header."""

import re

from control_plane.errors import InvalidInput

# Control characters but for the tab, what Unicode calls line breaks, and halves of surrogate pairs.
_NOT_TEXT = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_header_text(text: str, field: str) -> str:
    """Return the text without white space around it; raise `InvalidInput` when it could end a line or is no text."""
    if _NOT_TEXT.search(text):
        raise InvalidInput("A header must not contain line breaks or other control characters.", field)
    return text.strip(" \t")
