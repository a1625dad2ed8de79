"""Render the kept server's files; run as a program, write them.

    python -m tests.golden.render

Read the difference it makes before it is committed: that is what the next apply does to every server.
"""

import shutil
from pathlib import Path

from mailstack.addresses.render import render as render_addresses
from mailstack.dovecot.render import render as render_dovecot
from mailstack.nginx.render import render as render_nginx
from mailstack.opendkim.render import render as render_opendkim
from mailstack.opendmarc.render import render as render_opendmarc
from mailstack.postfix.render import render as render_postfix
from mailstack.rendered_file import RenderedFile
from mailstack.spec import MailServerSpec
from tests.golden.spec import CLIENTS, MOVING, NAMED, PLATFORMS, POLICIES, POOLED, SPEC, UNNAMED

FOLDER = Path(__file__).parent
_MORE = {
    "pools": POOLED,
    "policies": POLICIES,
    "clients": CLIENTS,
    "moves": MOVING,
    "ipv6-unnamed": UNNAMED,
    "ipv6": NAMED,
}


def rendered(platform: str, spec: MailServerSpec = SPEC) -> tuple[RenderedFile, ...]:
    """Return all services' files for one platform."""
    return tuple(
        file
        for render in (
            render_addresses,
            render_opendkim,
            render_opendmarc,
            render_dovecot,
            render_postfix,
            render_nginx,
        )
        for file in render(spec, PLATFORMS[platform])
    )


def kept_renderings() -> dict[str, tuple[RenderedFile, ...]]:
    """Return what is kept, by folder: of a server that has more than the plain one, the files that differ for it."""
    kept = {platform: rendered(platform) for platform in PLATFORMS}
    more = {f"{platform}-{name}": rendered(platform, spec) for name, spec in _MORE.items() for platform in PLATFORMS}
    plain = {file for files in kept.values() for file in files}
    return kept | {folder: tuple(file for file in files if file not in plain) for folder, files in more.items()}


def main() -> None:
    """Replace the kept files of every platform."""
    for folder, files in kept_renderings().items():
        shutil.rmtree(FOLDER / folder, ignore_errors=True)
        for file in files:
            kept = FOLDER / folder / file.path.lstrip("/")
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(file.content)


if __name__ == "__main__":
    main()
