"""The files of the served certificate, and of the order for one from an authority.

All daemons read the served pair as root, before they give up its rights.
"""

import json

from mailstack import layout
from mailstack.certificates.pair import Pair
from mailstack.rendered_file import RenderedFile, Service
from mailstack.spec import MailServerSpec


def render_pair(pair: Pair, *, web: bool = False) -> RenderedFile:
    """Return the file of the pair that is served or is to be, by nginx too where it runs (`web`)."""
    services = (Service.DOVECOT, Service.POSTFIX, *((Service.NGINX,) if web else ()))
    return RenderedFile(layout.TLS_PAIR, pair.packed, services, mode=0o600)


def render_order(spec: MailServerSpec) -> tuple[RenderedFile, ...]:
    """Return the order for a certificate; none where no authority is set."""
    if spec.authority is None:
        return ()
    order = {
        "hostname": spec.hostname,
        "directory_url": spec.authority.directory_url,
        "account_email": spec.authority.account_email,
        "roots_pem": spec.authority.roots_pem.decode("ascii"),
        "port_on_request": spec.authority.port_on_request,
        "by_dns": spec.authority.by_dns,
        "further_names": spec.certified_names,
    }
    return (RenderedFile(layout.CERTIFICATE_ORDER, json.dumps(order, indent=1).encode(), ()),)
