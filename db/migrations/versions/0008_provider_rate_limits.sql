-- Providers limit how often an account asks, whoever asks for it: what is left is shared by all workers.

CREATE TABLE provider_rate_limits (
    -- The provider and a hash of the account's token.
    account TEXT PRIMARY KEY,
    per_hour INTEGER NOT NULL CHECK (per_hour > 0),
    -- What was left at that moment, reservations of calls under way taken off; it grows by per_hour in an hour.
    remaining DOUBLE PRECISION NOT NULL,
    measured_at TIMESTAMPTZ NOT NULL
);

GRANT SELECT, INSERT, UPDATE ON provider_rate_limits TO penguin_system;
