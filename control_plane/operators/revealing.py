"""Recipients' addresses as operators see them: masked, unless they ask, and that they asked is written down."""

import uuid
from collections.abc import Callable, Collection, Iterable

from sqlalchemy.ext.asyncio import AsyncSession

from control_plane.errors import Forbidden
from control_plane.operators.acts import Act, Actor, record
from control_plane.operators.scopes import OperatorScope

#: Turns an address into what is shown of it.
Shows = Callable[[str], str]


def masked(address: str) -> str:
    """Return enough of an address to tell it from its neighbours; what is none, such as a hash, as it is.

    >>> masked("anna@mail.example.net")
    'a…@m….net'
    """
    name, at, domain = address.rpartition("@")
    within, _, top = domain.rpartition(".")
    return f"{name[:1]}…@{within[:1]}….{top}" if at else address


async def shows_addresses(
    session: AsyncSession,
    actor: Actor,
    opens: Collection[str],
    of: Iterable[uuid.UUID],
    *,
    reveal: bool,
) -> Shows:
    """Return how the addresses of these rows are shown to whom these scopes open something.

    Asked for as they are, they are written down by the rows' ids. Raises `Forbidden` without the scope for it.
    """
    if not reveal:
        return masked
    if OperatorScope.REVEAL_ADDRESSES not in opens:
        raise Forbidden(f"Showing addresses needs the scope {OperatorScope.REVEAL_ADDRESSES}.")
    await record(session, actor, Act.REVEAL_ADDRESSES, {"ids": [str(each) for each in of]})
    return str
