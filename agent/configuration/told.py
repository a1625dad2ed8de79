"""What a deed says of itself."""

from dataclasses import dataclass


class Refused(Exception):
    """The command's argument is no good, or what it asks for cannot be done as things are; nothing was done."""


@dataclass(frozen=True, slots=True)
class Told:
    """One sentence, and what was asked for; `output` has at most 256 KiB."""

    detail: str
    output: str
