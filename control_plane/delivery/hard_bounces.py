"""Which bounces say that an address takes no mail at all, so that no more is sent to it.

By the enhanced status code alone (RFC 3463; RFC 7505 for 5.1.10), for a server's
words are of any kind. A code of a class other than 5 is no answer for good, and of class 5 most are about one message,
a full mailbox or the sender's standing (5.2.2, 5.3.4, 5.7.1): those say nothing of the next message.
"""

import re

_CODE = re.compile(r"5\.(\d{1,3})\.(\d{1,3})")

#: Subject and detail: no such mailbox, no such domain, no valid address, moved and nowhere told whither, a domain
#: that takes no mail; a mailbox that is disabled.
_ABOUT_ADDRESS = frozenset({(1, 1), (1, 2), (1, 3), (1, 6), (1, 10), (2, 1)})


def is_hard(enhanced_status: str) -> bool:
    """Whether a bounce with this code is the address's own and for good."""
    found = _CODE.fullmatch(enhanced_status)
    return found is not None and (int(found[1]), int(found[2])) in _ABOUT_ADDRESS
