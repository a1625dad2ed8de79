-- How much mail an inbox's mailbox holds, in MiB (control_plane/provisioning/mailbox_quota.py); NULL for no quota.

ALTER TABLE inboxes ADD COLUMN quota_mb INTEGER CHECK (quota_mb > 0);
GRANT SELECT (quota_mb), UPDATE (quota_mb) ON inboxes TO penguin_api;
