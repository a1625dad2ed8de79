"""What stands in place of what was erased."""

#: In place of a recipient, a subject and a reason; no address is written so.
ERASED = "(erased)"
