-- People: who logs in, their sessions, and what they are in which tenant.
--
-- A person is above tenants, so what belongs to a person alone has no tenant_id, and the API role no right on it. A
-- third role, penguin_identity, has: log-in works across tenants, and nothing else that it may touch is a tenant's but
-- who is a member of it.

DO $$
BEGIN
    CREATE ROLE penguin_identity LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

-- ---------------------------------------------------------------- people

CREATE TABLE people (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    -- Lower case, verified: nobody is here before a letter to it was answered.
    email VARCHAR(254) NOT NULL UNIQUE CHECK (email = lower(email)),
    name VARCHAR(255) NOT NULL,
    -- Argon2id.
    password_hash TEXT NOT NULL,
    password_changed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Somebody who signed up and has not answered the letter yet.
CREATE TABLE sign_ups (
    token_sha256 BYTEA PRIMARY KEY CHECK (octet_length(token_sha256) = 32),
    email VARCHAR(254) NOT NULL CHECK (email = lower(email)),
    name VARCHAR(255) NOT NULL,
    password_hash TEXT NOT NULL,
    -- The tenant to make, or the invitation to take up.
    tenant_name VARCHAR(255),
    invitation_id UUID,
    expires_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CHECK ((tenant_name IS NULL) <> (invitation_id IS NULL))
);
CREATE INDEX idx_sign_ups_email ON sign_ups (email);

CREATE TABLE sessions (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    person_id UUID NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    -- The tenant that its access tokens are for; NULL for a person who is in none.
    working_in UUID REFERENCES tenants (id),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_used_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL,
    -- Where it was begun.
    address INET,
    user_agent VARCHAR(255) NOT NULL DEFAULT '',
    second_factor BOOLEAN NOT NULL DEFAULT false,
    ended_at TIMESTAMPTZ,
    ended_because VARCHAR(50)
        CHECK (ended_because IN ('logged-out', 'revoked', 'refresh-token-reused', 'password-changed')),
    CHECK ((ended_at IS NULL) = (ended_because IS NULL))
);
CREATE INDEX idx_sessions_person ON sessions (person_id) WHERE ended_at IS NULL;

-- A session's refresh tokens are one family: each is good once, and one that comes again ends the session.
CREATE TABLE refresh_tokens (
    token_sha256 BYTEA PRIMARY KEY CHECK (octet_length(token_sha256) = 32),
    session_id UUID NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL,
    used_at TIMESTAMPTZ
);
CREATE INDEX idx_refresh_tokens_session ON refresh_tokens (session_id);

-- What a letter or the first step of a log-in gives to come back with.
CREATE TABLE one_time_tokens (
    token_sha256 BYTEA PRIMARY KEY CHECK (octet_length(token_sha256) = 32),
    person_id UUID NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    purpose VARCHAR(20) NOT NULL CHECK (purpose IN ('reset-password', 'second-step')),
    expires_at TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX idx_one_time_tokens_person ON one_time_tokens (person_id);

CREATE TABLE totp_secrets (
    person_id UUID PRIMARY KEY REFERENCES people (id) ON DELETE CASCADE,
    -- Sealed for totp_secrets.secret_sealed:<person id>.
    secret_sealed BYTEA NOT NULL,
    confirmed_at TIMESTAMPTZ,
    -- The time step (RFC 6238) of the last code that was taken: no code counts twice.
    last_step BIGINT NOT NULL DEFAULT 0,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE TABLE recovery_codes (
    code_sha256 BYTEA PRIMARY KEY CHECK (octet_length(code_sha256) = 32),
    person_id UUID NOT NULL REFERENCES people (id) ON DELETE CASCADE
);
CREATE INDEX idx_recovery_codes_person ON recovery_codes (person_id);

-- Ed25519 keys that sign access tokens; a token names its key by the id.
CREATE TABLE signing_keys (
    id UUID PRIMARY KEY,
    public_key BYTEA NOT NULL CHECK (octet_length(public_key) = 32),
    -- Sealed for signing_keys.private_key_sealed:<id>.
    private_key_sealed BYTEA NOT NULL,
    -- Known before it is used: by then all processes have read it.
    signs_from TIMESTAMPTZ NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- ---------------------------------------------------------------- members of tenants

CREATE TABLE memberships (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    person_id UUID NOT NULL REFERENCES people (id),
    role VARCHAR(20) NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'read-only', 'billing')),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ended_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX idx_memberships_present ON memberships (tenant_id, person_id) WHERE ended_at IS NULL;
CREATE INDEX idx_memberships_person ON memberships (person_id) WHERE ended_at IS NULL;

CREATE TABLE invitations (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    -- Lower case; nobody else can take it up.
    email VARCHAR(254) NOT NULL CHECK (email = lower(email)),
    role VARCHAR(20) NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'read-only', 'billing')),
    token_sha256 BYTEA NOT NULL UNIQUE CHECK (octet_length(token_sha256) = 32),
    invited_by TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    expires_at TIMESTAMPTZ NOT NULL,
    accepted_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ
);
CREATE INDEX idx_invitations_tenant ON invitations (tenant_id, id);

DO $$
DECLARE
    name TEXT;
BEGIN
    FOREACH name IN ARRAY ARRAY['memberships', 'invitations'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format(
            'CREATE POLICY one_tenant ON %1$I TO penguin_api'
            ' USING (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)'
            ' WITH CHECK (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)',
            name
        );
        EXECUTE format('CREATE POLICY all_tenants ON %I TO penguin_system USING (true) WITH CHECK (true)', name);
    END LOOP;
    -- Which tenants somebody is in is asked before there is one to work in.
    FOREACH name IN ARRAY ARRAY['tenants', 'workspaces', 'memberships', 'invitations'] LOOP
        EXECUTE format('CREATE POLICY people ON %I TO penguin_identity USING (true) WITH CHECK (true)', name);
    END LOOP;
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON memberships, invitations TO penguin_system;
-- The command line changes the keys.
GRANT SELECT, INSERT, DELETE ON signing_keys TO penguin_system;

GRANT SELECT, UPDATE (role, ended_at) ON memberships TO penguin_api;
GRANT SELECT (id, tenant_id, email, role, invited_by, created_at, expires_at, accepted_at, revoked_at), INSERT,
    UPDATE (revoked_at) ON invitations TO penguin_api;

GRANT SELECT, INSERT, UPDATE (name, password_hash, password_changed_at) ON people TO penguin_identity;
GRANT SELECT, INSERT, DELETE ON sign_ups, one_time_tokens, recovery_codes, signing_keys TO penguin_identity;
GRANT SELECT, INSERT, UPDATE (working_in, last_used_at, second_factor, ended_at, ended_because) ON sessions
    TO penguin_identity;
GRANT SELECT, INSERT, UPDATE (used_at) ON refresh_tokens TO penguin_identity;
GRANT SELECT, INSERT, DELETE, UPDATE (secret_sealed, confirmed_at, last_step, created_at) ON totp_secrets
    TO penguin_identity;
GRANT SELECT (id, name, state), INSERT (id, name) ON tenants TO penguin_identity;
GRANT SELECT (id, tenant_id), INSERT (id, tenant_id, name) ON workspaces TO penguin_identity;
GRANT SELECT, INSERT (id, tenant_id, person_id, role) ON memberships TO penguin_identity;
GRANT SELECT, UPDATE (accepted_at) ON invitations TO penguin_identity;
