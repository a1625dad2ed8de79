"""The order for backups of mailboxes: read by penguin-backup as root, and by nobody else, for it holds passwords."""

import json

from mailstack import layout
from mailstack.rendered_file import RenderedFile
from mailstack.spec import MailServerSpec


def render_order(spec: MailServerSpec) -> tuple[RenderedFile, ...]:
    """Return the order; none where mailboxes are not backed up."""
    if spec.backup is None:
        return ()
    order = {
        "repository": spec.backup.repository,
        "password": spec.backup.password,
        "credentials": dict(spec.backup.credentials),
        "server": spec.backup.server,
        "mailboxes": [mailbox.address for mailbox in spec.mailboxes],
    }
    return (RenderedFile(layout.BACKUP_ORDER, json.dumps(order, indent=1).encode(), (), mode=0o600),)
