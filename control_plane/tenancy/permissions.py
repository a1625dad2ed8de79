"""What may be done, by name. Each route names one of these; which role has which comes with users and roles."""

import enum


class Permission(enum.Enum):
    """One thing that a caller may be allowed to do."""

    READ_SERVERS = "servers:read"
    MANAGE_SERVERS = "servers:manage"
    READ_INBOXES = "inboxes:read"
    MANAGE_INBOXES = "inboxes:manage"
    READ_MESSAGES = "messages:read"
    SEND_MESSAGES = "messages:send"


#: What is left to a tenant that is suspended: looking.
READ_ONLY = frozenset({Permission.READ_SERVERS, Permission.READ_INBOXES, Permission.READ_MESSAGES})

#: An API key may do all that its tenant may.
EVERYTHING = frozenset(Permission)
