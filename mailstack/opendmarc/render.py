"""OpenDMARC's file: verdicts on inbound mail, written as headers. It checks SPF itself, by libspf2."""

from mailstack import layout
from mailstack.rendered_file import OnChange, RenderedFile, Service
from mailstack.spec import MailServerSpec, Platform
from mailstack.templating import fill

CONFIGURATION = "/etc/opendmarc.conf"


def render(spec: MailServerSpec, _platform: Platform) -> tuple[RenderedFile, ...]:
    """Return OpenDMARC's file, for 1.4 on Debian 12 and 13 alike."""
    configuration = fill(
        __package__,
        "opendmarc.conf.j2",
        hostname=spec.hostname,
        socket=layout.OPENDMARC_SOCKET,
    )
    return (RenderedFile(CONFIGURATION, configuration, (Service.OPENDMARC,), OnChange.RESTART),)
