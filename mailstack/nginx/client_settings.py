"""What mail programs are told of a domain's mailboxes, as XML that stands between single quotes in nginx' file. Pure.

Thunderbird and those that do as it does read its configuration file (version 1.1), in which they fill in the address
themselves. Outlook reads Autodiscover's answer ("plain old XML"), in which the log-in name must stand whole: it takes
what is before the @ otherwise. So nginx puts the address of the question there (nginx.conf.j2).
"""

from xml.sax.saxutils import escape

from mailstack.templating import fill

#: Beside `&`, `<` and `>`: what would end a value in XML or a text in nginx, and what nginx fills in or reads on.
_REFERENCES = {"'": "&#39;", '"': "&#34;", "$": "&#36;", "\\": "&#92;"}


def thunderbird_settings(domain: str, hostname: str) -> str:
    """Return the configuration file of one domain, whose mailboxes are on the server."""
    return _fill("config-v1.1.xml.j2", domain=domain, hostname=hostname)


def outlook_settings(hostname: str) -> str:
    """Return Autodiscover's answer, the same for all domains; nginx fills `$http_x_login_name` in."""
    return _fill("autodiscover.xml.j2", hostname=hostname)


def _fill(template: str, **values: str) -> str:
    return fill(__package__, template, **{name: escape(value, _REFERENCES) for name, value in values.items()}).decode()
