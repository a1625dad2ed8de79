-- Passkeys, and what somebody who logs in by one has to answer. Of people alone, like sessions: the API role has no right
-- on them.

CREATE TABLE passkeys (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    person_id UUID NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    -- By which the authenticator knows it; chosen there.
    credential_id BYTEA NOT NULL UNIQUE CHECK (octet_length(credential_id) BETWEEN 1 AND 1023),
    -- COSE_Key (RFC 9052).
    public_key BYTEA NOT NULL,
    -- How often it was used, by its own count; one that does not grow is of a copy. 0 throughout: it does not count.
    sign_count BIGINT NOT NULL CHECK (sign_count >= 0),
    name VARCHAR(255) NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_used_at TIMESTAMPTZ
);
CREATE INDEX idx_passkeys_person ON passkeys (person_id);

CREATE TABLE log_in_challenges (
    challenge_sha256 BYTEA PRIMARY KEY CHECK (octet_length(challenge_sha256) = 32),
    purpose VARCHAR(30) NOT NULL CHECK (purpose IN ('register-passkey', 'passkey-log-in', 'passkey-second-step')),
    -- NULL where the answer will say who it is.
    person_id UUID REFERENCES people (id) ON DELETE CASCADE,
    expires_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX idx_log_in_challenges_expiry ON log_in_challenges (expires_at);
CREATE INDEX idx_log_in_challenges_person ON log_in_challenges (person_id);

GRANT SELECT, INSERT, DELETE, UPDATE (sign_count, last_used_at) ON passkeys TO penguin_identity;
GRANT SELECT, INSERT, DELETE ON log_in_challenges TO penguin_identity;
