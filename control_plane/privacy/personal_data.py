"""The one table of where personal data of recipients lies, or could be thought to.

A test compares it with the schema: a column with a name as such data has that is not here is an error.
"""

import enum
import re
from collections.abc import Mapping

#: How columns are called that may hold personal data of recipients; an `email_address` is an inbox's own.
SUSPECT = re.compile(
    r"recipient|payload|^subject$|^detail$|^data$|^output$|body|problems|^address$|^email$|state_reason|last_error|^text$"
)


class Fate(enum.Enum):
    """What becomes of such a column when a recipient is erased."""

    #: Replaced, and so exported before (erase.py, export.py).
    ERASED = "erased"
    #: Replaced by a keyed hash.
    HASHED = "hashed"
    #: Left to go by itself within a day (retention.py).
    SHORT = "gone within a day"
    #: Holds no recipient's data: our own words, or what is the tenant's people's or servers'.
    OTHER = "holds none"


COLUMNS: Mapping[tuple[str, str], Fate] = {
    ("messages", "recipient"): Fate.ERASED,
    # Made from the one above.
    ("messages", "recipient_folded"): Fate.ERASED,
    ("messages", "subject"): Fate.ERASED,
    ("messages", "payload"): Fate.ERASED,
    # What the recipient's server answered.
    ("messages", "state_reason"): Fate.ERASED,
    ("message_events", "detail"): Fate.ERASED,
    ("tenant_events", "data"): Fate.ERASED,
    # Lines of a server's mail log, as they were asked for.
    ("server_commands", "output"): Fate.ERASED,
    ("suppressions", "address"): Fate.HASHED,
    # Until the erasure is done.
    ("data_subject_erasures", "address"): Fate.ERASED,
    ("kept_answers", "body"): Fate.SHORT,
    ("kept_answers_to_people", "body"): Fate.SHORT,
    ("kept_answers_to_operators", "body"): Fate.SHORT,
    ("idempotency_keys", "problems"): Fate.SHORT,
    # Where tenants' people came from, and who they are.
    ("audit_events", "address"): Fate.OTHER,
    ("audit_events", "subject"): Fate.OTHER,
    ("sessions", "address"): Fate.OTHER,
    ("security_events", "address"): Fate.OTHER,
    ("people", "email"): Fate.OTHER,
    ("sign_ups", "email"): Fate.OTHER,
    ("invitations", "email"): Fate.OTHER,
    ("oidc_identities", "subject"): Fate.OTHER,
    # Servers' addresses, and what is said of them.
    ("server_addresses", "address"): Fate.OTHER,
    ("server_addresses", "state_reason"): Fate.OTHER,
    ("refused_addresses", "address"): Fate.OTHER,
    ("preflight_results", "address"): Fate.OTHER,
    ("preflight_results", "detail"): Fate.OTHER,
    ("server_commands", "detail"): Fate.OTHER,
    ("healing_acts", "detail"): Fate.OTHER,
    # Ids and our own sentences.
    ("operator_acts", "subject"): Fate.OTHER,
    ("alert_notices", "body"): Fate.OTHER,
    ("alert_notices", "last_error"): Fate.OTHER,
    # Why a tenant's URL could not be told.
    ("webhook_deliveries", "last_error"): Fate.OTHER,
}
