"""Render the kept server's files; run as a program, write them.

    python -m tests.golden.render

Read the difference it makes before it is committed: that is what the next apply does to every server.
"""

import shutil
from pathlib import Path

from mailstack.dovecot.render import render as render_dovecot
from mailstack.opendkim.render import render as render_opendkim
from mailstack.opendmarc.render import render as render_opendmarc
from mailstack.postfix.render import render as render_postfix
from mailstack.rendered_file import RenderedFile
from tests.golden.spec import PLATFORMS, SPEC

FOLDER = Path(__file__).parent


def rendered(platform: str) -> tuple[RenderedFile, ...]:
    """Return all services' files for one platform."""
    return tuple(
        file
        for render in (render_opendkim, render_opendmarc, render_dovecot, render_postfix)
        for file in render(SPEC, PLATFORMS[platform])
    )


def main() -> None:
    """Replace the kept files of every platform."""
    for platform in PLATFORMS:
        shutil.rmtree(FOLDER / platform, ignore_errors=True)
        for file in rendered(platform):
            kept = FOLDER / platform / file.path.lstrip("/")
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(file.content)


if __name__ == "__main__":
    main()
