"""Let the mail server show another certificate: check it, replace the one file, reload, look at every door.

The file is replaced by one rename. Postfix's processes take it up as they are started anew and Dovecot when it reloads;
sessions that are open go on with the old one. Whatever then is not served at every door is put back.

SECURITY: runs as root. The pair comes from whoever asked the authority; only one for the name that was ordered is
taken, with its key, and nothing else in it reaches a file.
"""

import json
import logging
from collections.abc import Callable

from mailstack import layout
from mailstack.apply import backup, doors
from mailstack.apply.converge import ConvergeOutcome, Outcome
from mailstack.apply.host import CommandFailed, Host, StoredFile
from mailstack.apply.plan import EVERY
from mailstack.certificates.pair import InvalidPair, Pair, require_servable, unpack
from mailstack.certificates.render import render_pair
from mailstack.rendered_file import OnChange, Service

_log = logging.getLogger(__name__)


def install(pair: Pair, host: Host, verify: Callable[[bytes], str] = doors.verify) -> ConvergeOutcome:
    """Serve the pair, or leave the server as it was. `verify` takes the chain and raises `doors.NotServed`."""
    try:
        pair = unpack(pair.packed)
        require_servable(pair, _ordered_name(host), host.now())
        running = host.running(EVERY)
        file = render_pair(pair, web=Service.NGINX in running)
        actions = tuple((service, OnChange.RELOAD) for service in EVERY if service in file.services)
        backup.save(host, [file.path], actions, running)
    except (InvalidPair, CommandFailed, OSError) as error:
        return ConvergeOutcome(Outcome.REFUSED, str(error))
    touched = tuple(service for service, _ in actions)
    try:
        host.write(file.path, StoredFile(file.content, file.owner, file.group, file.mode))
        for service in touched:
            host.reload(service)
        detail = verify(pair.chain_pem)
    except (doors.NotServed, CommandFailed, OSError) as error:
        _log.warning("putting the certificate before back: %s", error)
        failures = backup.restore(host)
        detail = "; ".join([str(error), *(f"and while putting back: {failure}" for failure in failures)])
        return ConvergeOutcome(Outcome.ROLLED_BACK, detail, touched)
    backup.discard(host)
    return ConvergeOutcome(Outcome.APPLIED, detail, touched)


def _ordered_name(host: Host) -> str:
    order = host.read(layout.CERTIFICATE_ORDER)
    if order is None:
        raise InvalidPair("no certificate was ordered for this server")
    return str(json.loads(order.content)["hostname"])
