-- Logging in at another's page (OpenID Connect): who a person is at which issuer. Of people alone.

CREATE TABLE oidc_identities (
    issuer VARCHAR(255) NOT NULL,
    -- What the issuer calls them; an address there may become somebody else's, this does not.
    subject VARCHAR(255) NOT NULL,
    person_id UUID NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX idx_oidc_identities_person ON oidc_identities (person_id);

GRANT SELECT, INSERT ON oidc_identities TO penguin_identity;

-- NULL: somebody who has only ever come by an issuer. They set one by the letter for forgotten passwords.
ALTER TABLE people ALTER COLUMN password_hash DROP NOT NULL;

ALTER TABLE log_in_challenges DROP CONSTRAINT log_in_challenges_purpose_check;
ALTER TABLE log_in_challenges ADD CHECK (
    purpose IN ('register-passkey', 'passkey-log-in', 'passkey-second-step', 'oidc')
);
