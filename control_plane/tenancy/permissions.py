"""The one table of who may do what in a tenant. Each route names one permission; a role is a set of them.

What the platform's operators may do is not here: they have a door of their own (control_plane/operators/scopes.py).
"""

import enum
import uuid
from collections.abc import Mapping


class Permission(enum.Enum):
    """One thing that a caller may be allowed to do; the values are also what the scopes of API keys are called."""

    READ_TENANT = "tenant:read"
    MANAGE_TENANT = "tenant:manage"
    READ_SERVERS = "servers:read"
    MANAGE_SERVERS = "servers:manage"
    READ_INBOXES = "inboxes:read"
    MANAGE_INBOXES = "inboxes:manage"
    READ_MESSAGES = "messages:read"
    SEND_MESSAGES = "messages:send"
    READ_API_KEYS = "api-keys:read"
    MANAGE_API_KEYS = "api-keys:manage"
    READ_MEMBERS = "members:read"
    MANAGE_MEMBERS = "members:manage"
    READ_WEBHOOKS = "webhooks:read"
    MANAGE_WEBHOOKS = "webhooks:write"
    READ_AUDIT = "audit:read"
    READ_SUPPRESSIONS = "suppressions:read"
    MANAGE_SUPPRESSIONS = "suppressions:write"
    MANAGE_DATA_SUBJECTS = "data-subjects:manage"


class Role(enum.StrEnum):
    """What somebody is in a tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    READ_ONLY = "read-only"
    BILLING = "billing"


#: What is left to a tenant that is suspended: looking.
READ_ONLY = frozenset(
    {
        Permission.READ_TENANT,
        Permission.READ_SERVERS,
        Permission.READ_INBOXES,
        Permission.READ_MESSAGES,
        Permission.READ_API_KEYS,
        Permission.READ_MEMBERS,
        Permission.READ_WEBHOOKS,
        Permission.READ_AUDIT,
        Permission.READ_SUPPRESSIONS,
    }
)

#: What a tenant may do in all, and so a key that names no scopes.
EVERYTHING = frozenset(Permission)

_MAIL = frozenset(
    {
        Permission.READ_TENANT,
        Permission.READ_SERVERS,
        Permission.READ_INBOXES,
        Permission.READ_MESSAGES,
        Permission.READ_SUPPRESSIONS,
    }
)

ROLES: Mapping[Role, frozenset[Permission]] = {
    Role.OWNER: EVERYTHING,
    Role.ADMIN: EVERYTHING,
    Role.MEMBER: _MAIL | {Permission.READ_MEMBERS, Permission.MANAGE_INBOXES, Permission.SEND_MESSAGES},
    Role.READ_ONLY: _MAIL | {Permission.READ_MEMBERS},
    # Whoever pays sees what is paid for, and no mail.
    Role.BILLING: frozenset({Permission.READ_TENANT, Permission.READ_SERVERS}),
}


#: What is one workspace's to do. The rest is the tenant's: its name and workspaces, deeds of all who act in it, and
#: recipients, who are the same for all workspaces.
IN_WORKSPACES = EVERYTHING - {
    Permission.MANAGE_TENANT,
    Permission.READ_AUDIT,
    Permission.READ_SUPPRESSIONS,
    Permission.MANAGE_SUPPRESSIONS,
    Permission.MANAGE_DATA_SUBJECTS,
}

#: What somebody can be in single workspaces: a tenant's owners and whoever pays are the whole tenant's.
ROLES_IN_WORKSPACES = frozenset({Role.ADMIN, Role.MEMBER, Role.READ_ONLY})


def permissions_within(
    workspaces: frozenset[uuid.UUID] | None, granted: frozenset[Permission]
) -> frozenset[Permission]:
    """Return what is left of permissions for a caller of single workspaces; None is the whole tenant."""
    return granted if workspaces is None else granted & IN_WORKSPACES


def permissions_named(names: frozenset[str]) -> frozenset[Permission]:
    """Return the permissions of these names; a name that there is not opens nothing."""
    return frozenset(each for each in Permission if each.value in names)
