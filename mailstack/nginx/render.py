"""nginx' file: the MTA-STS policies (RFC 8461) and the settings for mail programs of the domains that have them.

Without any, no file and no nginx.

One file in the place of the distribution's, so that nothing else is served: HTTPS alone, and port 80 stays free for the
certificate authority (agent/acme).
"""

from mailstack import layout
from mailstack.nginx.client_settings import outlook_settings, thunderbird_settings
from mailstack.rendered_file import RenderedFile, Service
from mailstack.spec import MailServerSpec, Platform
from mailstack.templating import fill

CONFIGURATION = "/etc/nginx/nginx.conf"
PROGRAM = "/usr/sbin/nginx"


def render(spec: MailServerSpec, _platform: Platform) -> tuple[RenderedFile, ...]:
    """Return nginx' file, for 1.22 on Debian 12 to 1.26 on Debian 13 alike; none where nothing is to be shown."""
    if not (spec.policy_domains or spec.client_domains):
        return ()
    # One line in quotes, in which nginx reads \n; `require_mta_sts_policy` lets nothing else through that it reads.
    policies = [(domain.mta_sts_name, domain.mta_sts_policy.replace("\n", "\\n")) for domain in spec.policy_domains]
    clients = [
        (domain.client_names, thunderbird_settings(domain.name, spec.hostname)) for domain in spec.client_domains
    ]
    configuration = fill(
        __package__,
        "nginx.conf.j2",
        policies=policies,
        clients=clients,
        outlook=outlook_settings(spec.hostname),
        autodiscover_port=layout.AUTODISCOVER_PORT,
        tls_pair=layout.TLS_PAIR,
    )
    return (RenderedFile(CONFIGURATION, configuration, (Service.NGINX,)),)
