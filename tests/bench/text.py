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


def message(size: int = SIZE) -> bytes:
    """Return a message as the API composes it, of about `size` bytes."""
    draft = Draft(
        sender=EmailAddress("sales", "penguin.example"),
        display_name="Sales",
        recipient=EmailAddress("b", "walrus.example"),
        subject="Fish",
        text=words(max(1, size - 450)),
        html=None,
        headers=(),
    )
    return compose(draft, uuid.UUID(int=1), dt.datetime(2026, 11, 1, tzinfo=dt.UTC))
