"""OpenDKIM's files: one instance that signs authenticated submission and verifies what comes in."""

from mailstack import layout
from mailstack.rendered_file import OnChange, RenderedFile, Service
from mailstack.spec import DkimKey, MailServerSpec, Platform
from mailstack.templating import fill

CONFIGURATION = "/etc/opendkim.conf"
DIRECTORY = "/etc/opendkim"
USER = "opendkim"


def render(spec: MailServerSpec, _platform: Platform) -> tuple[RenderedFile, ...]:
    """Return OpenDKIM's files, with the active key of each domain. 2.11 on Debian 12 and 13 alike."""
    signing = [(domain.name, domain.active_key) for domain in spec.domains if domain.active_key]
    signing.sort(key=lambda pair: pair[0])
    configuration = fill(
        __package__,
        "opendkim.conf.j2",
        hostname=spec.hostname,
        nameservers=spec.nameservers,
        socket=layout.OPENDKIM_SOCKET,
        directory=DIRECTORY,
        user=USER,
    )
    key_table = "".join(f"{domain} {domain}:{key.selector}:{_key_path(domain, key)}\n" for domain, key in signing)
    signing_table = "".join(f"{domain} {domain}\n" for domain, _ in signing)
    return (
        RenderedFile(CONFIGURATION, configuration, (Service.OPENDKIM,), OnChange.RESTART),
        RenderedFile(f"{DIRECTORY}/key.table", key_table.encode(), (Service.OPENDKIM,)),
        RenderedFile(f"{DIRECTORY}/signing.table", signing_table.encode(), (Service.OPENDKIM,)),
        *(
            RenderedFile(
                _key_path(domain, key),
                key.private_key_pem,
                (Service.OPENDKIM,),
                owner=USER,
                group=USER,
                mode=0o600,
            )
            for domain, key in signing
        ),
    )


def _key_path(domain: str, key: DkimKey) -> str:
    return f"{DIRECTORY}/keys/{domain}/{key.selector}.pem"
