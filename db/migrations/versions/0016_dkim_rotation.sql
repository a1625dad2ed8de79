-- DKIM rotation: what each key is doing (control_plane/inboxes/dkim_rotation.py).

ALTER TABLE dkim_keys ADD COLUMN state VARCHAR(20) NOT NULL DEFAULT 'active'
    CHECK (state IN ('next', 'active', 'retiring', 'withdrawn'));
ALTER TABLE dkim_keys ADD CONSTRAINT dkim_keys_active_signs CHECK (active = (state = 'active'));
CREATE UNIQUE INDEX idx_dkim_keys_one_next ON dkim_keys (domain_id) WHERE state = 'next';
-- When it began to sign, and when the last server ceased to sign with it.
ALTER TABLE dkim_keys ADD COLUMN activated_at TIMESTAMPTZ NOT NULL DEFAULT now();
ALTER TABLE dkim_keys ADD COLUMN retired_at TIMESTAMPTZ;
UPDATE dkim_keys SET activated_at = created_at;

GRANT SELECT (state, activated_at, retired_at) ON dkim_keys TO penguin_api;
