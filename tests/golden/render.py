"""Render the kept server's files; run as a program, write them.

    python -m tests.golden.render

Read the difference it makes before it is committed: that is what the next apply does to every server.
"""

import shutil
from pathlib import Path

from mailstack.addresses.render import render as render_addresses
from mailstack.dovecot.render import render as render_dovecot
from mailstack.opendkim.render import render as render_opendkim
from mailstack.opendmarc.render import render as render_opendmarc
from mailstack.postfix.render import render as render_postfix
from mailstack.rendered_file import RenderedFile
from mailstack.spec import MailServerSpec
from tests.golden.spec import PLATFORMS, POOLED, SPEC

FOLDER = Path(__file__).parent


def rendered(platform: str, spec: MailServerSpec = SPEC) -> tuple[RenderedFile, ...]:
    """Return all services' files for one platform."""
    return tuple(
        file
        for render in (render_addresses, render_opendkim, render_opendmarc, render_dovecot, render_postfix)
        for file in render(spec, PLATFORMS[platform])
    )


def kept_renderings() -> dict[str, tuple[RenderedFile, ...]]:
    """Return what is kept, by folder: of a server with further addresses, the files that differ for it."""
    kept = {platform: rendered(platform) for platform in PLATFORMS}
    pooled = {f"{platform}-pools": rendered(platform, POOLED) for platform in PLATFORMS}
    plain = {file for files in kept.values() for file in files}
    return kept | {folder: tuple(file for file in files if file not in plain) for folder, files in pooled.items()}


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
