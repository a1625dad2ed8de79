"""What can go wrong with the journal, by what the caller should do."""


class JournalError(Exception):
    """The journal cannot do what was asked."""


class JournalUnavailable(JournalError):
    """Nothing was written (disk full, I/O error); the caller may try again."""


class JournalCorrupt(JournalError):
    """What is on disk is not a journal this agent can trust; an operator must look."""
