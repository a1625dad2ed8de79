"""What the ids in paths, queries and bodies are ids of, by the names that they have there."""

from collections.abc import Mapping

from tests.attack.rows import Catalogue, Rows

Place = tuple[str, str]

#: Names that no foreign key bears, or another one.
_NAMED: Mapping[str, Place] = {
    "address_id": ("server_addresses", "id"),
    "address_ids": ("server_addresses", "id"),
    # Where a list goes on: no id, but what looks like one might be taken for it.
    "after": ("messages", "id"),
    "alias_id": ("inbox_aliases", "id"),
    "command_id": ("server_commands", "id"),
    "delivery_id": ("webhook_deliveries", "id"),
    "erasure_id": ("data_subject_erasures", "id"),
    "event_id": ("tenant_events", "id"),
    "invitation_id": ("invitations", "id"),
    "ip_pool_id": ("ip_pools", "id"),
    "key_id": ("api_keys", "id"),
    "member_id": ("memberships", "id"),
    "message_id": ("messages", "id"),
    "of": ("inboxes", "id"),
    "pause_id": ("pauses", "id"),
    "session_id": ("sessions", "id"),
    "subject_id": ("messages", "id"),
    "tenant_id": ("tenants", "id"),
    "webhook_id": ("webhook_endpoints", "id"),
    "workspaces": ("workspaces", "id"),
}


def kind_of(catalogue: Catalogue, name: str) -> Place | None:
    """Return what a parameter of this name is an id of: as it is listed, or as a foreign key or a table is called."""
    if name in _NAMED:
        return _NAMED[name]
    referred = {place for (_, column), place in catalogue.references.items() if column == name and place[1] == "id"}
    if len(referred) == 1:
        return referred.pop()
    table = f"{name.removesuffix('_id')}s"
    return (table, "id") if table in catalogue.columns else None


def id_of(rows: Rows, name: str) -> object:
    """Return a tenant's own id for a parameter; raise `LookupError` for one that is of no known kind."""
    place = kind_of(rows.catalogue, name)
    if place is None or place not in rows.values:
        raise LookupError(f"of what is {name} an id? say so in tests/attack/kinds.py")
    return rows.values[place]
