"""Templates as SES's clients bring them: `{{name}}` stands for a value of the data, `{{a.b}}` for one inside; pure.

What SES takes from Handlebars beyond that (blocks, partials, helpers) is refused rather than sent as it stands. As with
SES, values are put in as they are: whoever makes HTML escapes what goes into it.
"""

import json
import re
from collections.abc import Mapping

from control_plane.errors import InvalidInput

_TAG = re.compile(r"\{\{\{?(?P<path>.*?)\}?\}\}", re.DOTALL)
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)*")
#: Characters of a name that are told when it is wrong.
_SHOWN = 60


def parse_data(text: str, field: str) -> Mapping[str, object]:
    """Return template data: a JSON object in a string. Raises `InvalidInput`."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise InvalidInput("Template data is a JSON object, written as a string.", field)
    return data


def render(template: str, data: Mapping[str, object], field: str) -> str:
    """Return the text with values in the places of their names; raise `InvalidInput` for a name without a value."""
    return _TAG.sub(lambda tag: _value(tag["path"].strip(), data, field), template)


def _value(path: str, data: Mapping[str, object], field: str) -> str:
    if not _PATH.fullmatch(path):
        raise InvalidInput(f"Templates here know names such as {{{{name}}}} only, not {path[:_SHOWN]!r}.", field)
    value: object = data
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (dict, list)):
        raise InvalidInput(f"The template data has no text or number {path[:_SHOWN]!r}.", field)
    return json.dumps(value)
