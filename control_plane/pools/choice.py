"""Which of a pool's addresses on its server an inbox sends by: pure.

Rendezvous hashing: each inbox ranks the addresses in an order of its own and takes the first that is there. So inboxes
spread evenly, an inbox keeps its address while others come and go, and one that loses its address is the only one that
moves. A mailbox provider learns what an address sends; moving senders about would make it begin anew.
"""

import hashlib
import uuid
from collections.abc import Collection


def address_for(inbox_id: uuid.UUID, addresses: Collection[uuid.UUID]) -> uuid.UUID | None:
    """Return the inbox's address among these; None, the server's own, when there are none."""
    return max(addresses, key=lambda address: _rank(inbox_id, address), default=None)


def _rank(inbox_id: uuid.UUID, address_id: uuid.UUID) -> bytes:
    return hashlib.sha256(inbox_id.bytes + address_id.bytes).digest()
