"""Text of a wanted size that compresses as letters do, the same in each run."""

import datetime as dt
import random
import textwrap
import uuid

from control_plane.inboxes.addresses import EmailAddress
from control_plane.messages.compose import Draft, compose

#: Bytes of a message in most benches.
SIZE = 5 * 1024
_LETTERS = "etaoinshrdlucmfwypvbgk"
_LINE = 72


def words(size: int, seed: int = 1) -> str:
    """Return `size` characters of words in lines."""
    chance = random.Random(seed)  # noqa: S311 - it keeps no secret
    vocabulary = ["".join(chance.choices(_LETTERS, k=chance.randint(2, 9))) for _ in range(2000)]
    text = " ".join(chance.choice(vocabulary) for _ in range(size // 3))[:size]
    return "\n".join(textwrap.wrap(text, _LINE))


#: The id in the Message-ID of every `message`, in place of which each send has its own.
ANY_ID = uuid.UUID(int=1)


def message(size: int = SIZE, domain: str = "penguin.example") -> bytes:
    """Return a message as the API composes it, of about `size` bytes."""
    draft = Draft(
        sender=EmailAddress("sales", domain),
        display_name="Sales",
        recipient=EmailAddress("b", "walrus.example"),
        subject="Fish",
        text=words(max(1, size - 450)),
        html=None,
        headers=(),
    )
    return compose(draft, ANY_ID, dt.datetime(2026, 11, 1, tzinfo=dt.UTC))
