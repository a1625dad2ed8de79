"""How what is ours is told from the rest of a project: by its labels.

Values are at most 63 characters of letters, digits, `-`, `_` and `.`, and begin and end with a letter or digit
(docs.hetzner.cloud, "Labels").
"""

import hashlib

from hcloud.helpers.labels import LabelValidator

from control_plane.providers.base import ProviderError

INSTANCE = "penguin/instance"
GENERATION = "penguin/generation"
#: The action of the last rebuild before that of the generation: a later one is the generation's own.
REBUILT_BEFORE = "penguin/rebuilt-before"


def instance_label(platform_domain: str) -> str:
    """Return the value by which this installation knows what it made; a domain that is too long becomes its hash."""
    if LabelValidator.validate({INSTANCE: platform_domain}):
        return platform_domain
    return hashlib.sha256(platform_domain.encode()).hexdigest()[:32]


def checked(labels: dict[str, str]) -> dict[str, str]:
    """Return the labels; raise `ProviderError` when one is not valid."""
    valid, reason = LabelValidator.validate_verbose(labels)
    if not valid:
        raise ProviderError(reason)
    return labels


def selector(instance: str) -> str:
    """Return the selector of all that this installation made."""
    return f"{INSTANCE}=={instance}"


def refuse_foreign(what: str, labels: dict[str, str] | None, instance: str) -> None:
    """Raise `ProviderError` for a thing of our name that is not ours: it is neither used nor deleted."""
    if (labels or {}).get(INSTANCE) != instance:
        raise ProviderError(
            f"{what} exists in the Hetzner project and is not this installation's (its label {INSTANCE} is not"
            f" {instance}): rename it in the console, or use a project of its own"
        )
