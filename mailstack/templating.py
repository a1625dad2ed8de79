"""Turn a template beside a renderer into the bytes of a file.

Templates are for our own configuration only: every value that comes from a tenant has passed `mailstack/syntax.py`
before, and an undefined name is an error.
"""

import functools

import jinja2


def fill(package: str, template: str, **values: object) -> bytes:
    """Return `templates/<template>` of the package with the values filled in, as UTF-8."""
    return _environment(package).get_template(template).render(**values).encode()


@functools.cache
def _environment(package: str) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=jinja2.select_autoescape(enabled_extensions=()),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
