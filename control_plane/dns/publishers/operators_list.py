"""The operator's list of further providers of octoDNS, which tenants choose from by name.

A tenant names no class and sets no option but the credentials that the list asks for: what is imported, and where it
connects to, is the operator's to say. The file is JSON: a name to `class` ("octodns_route53.Route53Provider"),
`options` for all, and `credentials`, the arguments that the tenant gives. The packages are the operator's to install.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from control_plane.dns.plan import PublisherNeedsPerson
from control_plane.dns.publishers.octodns_zone import OctoDnsPublisher


class ListedProvider(BaseModel):
    """One provider."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_path: str = Field(alias="class", pattern=r"^octodns_[a-z0-9_]+(\.[A-Za-z0-9_]+)+$")
    options: Mapping[str, JsonValue] = Field(default_factory=dict)
    credentials: tuple[str, ...] = Field(min_length=1)


_LIST = TypeAdapter(Mapping[str, ListedProvider])


def read_list(path: Path | None) -> Mapping[str, ListedProvider]:
    """Return the list; empty without a file. Raises `OSError`, or `ValueError` when it is not as it should be."""
    return _LIST.validate_json(path.read_bytes()) if path else {}


def publisher_from_list(
    listed: Mapping[str, ListedProvider], name: str, credentials: Mapping[str, str]
) -> OctoDnsPublisher:
    """Return the publisher; raise `PublisherNeedsPerson` when the list does not have it any more."""
    entry = listed.get(name)
    if entry is None or set(entry.credentials) != set(credentials):
        raise PublisherNeedsPerson(f"the DNS host {name} is not offered here any more as it was chosen")
    module, _, class_name = entry.class_path.rpartition(".")
    made = getattr(importlib.import_module(module), class_name)
    return OctoDnsPublisher(made(name, **entry.options, **credentials))
