"""Tell by apprise: mail, chats, pagers and what else has a URL there.

SECURITY: the URL is a secret, and apprise may write it into its errors: nothing of these is shown or logged.
"""

import asyncio
import logging
from collections.abc import Sequence

from apprise import Apprise, NotifyBase, NotifyType

from control_plane.errors import InvalidInput
from control_plane.webhooks.attempt import Answer

#: Seconds that an attempt may take; apprise's own limits of a connection are shorter.
TIMEOUT = 45.0
_KINDS = {"critical": NotifyType.FAILURE, "warning": NotifyType.WARNING}

logging.getLogger("apprise").setLevel(logging.CRITICAL)


def hosts_of(url: str) -> Sequence[str]:
    """Return the hosts that a URL leads to, those of mail's recipients too; raise `InvalidInput` for no such URL."""
    channel = _channel(url)
    recipients = [str(target[-1]).rpartition("@")[2] for target in _targets(channel) if "@" in str(target[-1])]
    hosts = [getattr(channel, "host", None), getattr(channel, "smtp_host", None), *recipients]
    return [str(host) for host in hosts if host]


async def tell(url: str, title: str, body: str, severity: str) -> Answer:
    """Tell once, and return what came of it."""
    kind = _KINDS.get(severity, NotifyType.INFO)
    try:
        async with asyncio.timeout(TIMEOUT):
            told = await asyncio.to_thread(_channel(url).notify, body=body, title=title, notify_type=kind)
    except TimeoutError:
        return Answer(None, f"no answer within {TIMEOUT:.0f} seconds")
    except (OSError, TypeError, ValueError) as error:
        return Answer(None, f"{type(error).__name__}: it could not be told")
    return Answer(200) if told else Answer(None, "it was not taken")


def _channel(url: str) -> NotifyBase:
    channel = Apprise.instantiate(url, suppress_exceptions=True)
    if channel is None:
        raise InvalidInput("this is no URL that apprise knows", "/url")
    return channel


def _targets(channel: NotifyBase) -> Sequence[Sequence[object]]:
    targets = getattr(channel, "targets", None) or ()
    return [each for each in targets if isinstance(each, tuple | list) and each]
