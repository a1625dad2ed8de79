"""People, their sessions and the keys that sign their access tokens; above tenants, for the role penguin_identity.

Memberships and invitations are a tenant's, under row-level security like everything else of a tenant.
"""

import datetime as dt
import ipaddress
import uuid
from typing import Annotated

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, INET
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, CreatedAt, RowId, TenantId

_PersonId = Annotated[uuid.UUID, mapped_column(ForeignKey("people.id", ondelete="CASCADE"))]


class Person(Base):
    """Somebody who can log in; the address is theirs, for a letter to it was answered."""

    __tablename__ = "people"
    __table_args__ = (UniqueConstraint("email"),)

    id: Mapped[RowId]
    email: Mapped[str] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(255))
    password_hash: Mapped[str | None] = mapped_column(Text, deferred=True)
    password_changed_at: Mapped[CreatedAt]
    created_at: Mapped[CreatedAt]


class SignUp(Base):
    """Somebody who signed up and has not answered the letter yet."""

    __tablename__ = "sign_ups"
    __table_args__ = (Index("idx_sign_ups_email", "email"),)

    token_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(255))
    password_hash: Mapped[str] = mapped_column(Text, deferred=True)
    tenant_name: Mapped[str | None] = mapped_column(String(255))
    invitation_id: Mapped[uuid.UUID | None]
    expires_at: Mapped[dt.datetime]
    created_at: Mapped[CreatedAt]


class Session(Base):
    """What a log-in began: one family of refresh tokens, and a tenant to work in."""

    __tablename__ = "sessions"
    __table_args__ = (Index("idx_sessions_person", "person_id", postgresql_where=text("ended_at IS NULL")),)

    id: Mapped[RowId]
    person_id: Mapped[_PersonId]
    working_in: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("tenants.id"))
    created_at: Mapped[CreatedAt]
    last_used_at: Mapped[CreatedAt]
    expires_at: Mapped[dt.datetime]
    address: Mapped[ipaddress.IPv4Address | ipaddress.IPv6Address | None] = mapped_column(INET)
    user_agent: Mapped[str] = mapped_column(String(255), server_default=text("''"))
    second_factor: Mapped[bool] = mapped_column(server_default=text("false"))
    ended_at: Mapped[dt.datetime | None]
    ended_because: Mapped[str | None] = mapped_column(String(50))


class RefreshToken(Base):
    """A token of a session's family, by its hash; good once."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index("idx_refresh_tokens_session", "session_id"),)

    token_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    session_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[dt.datetime]
    used_at: Mapped[dt.datetime | None]


class OneTimeToken(Base):
    """What a letter or the first step of a log-in gives to come back with, by its hash."""

    __tablename__ = "one_time_tokens"
    __table_args__ = (Index("idx_one_time_tokens_person", "person_id"),)

    token_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    person_id: Mapped[_PersonId]
    purpose: Mapped[str] = mapped_column(String(20))
    expires_at: Mapped[dt.datetime]
    created_at: Mapped[CreatedAt]


class TotpSecret(Base):
    """A person's authenticator (RFC 6238); of use once a code of it was shown."""

    __tablename__ = "totp_secrets"

    person_id: Mapped[_PersonId] = mapped_column(primary_key=True)
    secret_sealed: Mapped[bytes] = mapped_column(deferred=True)
    confirmed_at: Mapped[dt.datetime | None]
    last_step: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    created_at: Mapped[CreatedAt]


class RecoveryCode(Base):
    """A code that stands for the authenticator once, by its hash."""

    __tablename__ = "recovery_codes"
    __table_args__ = (Index("idx_recovery_codes_person", "person_id"),)

    code_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    person_id: Mapped[_PersonId]


class Passkey(Base):
    """A public key of a person's authenticator (Web Authentication), and how often it says that it was used."""

    __tablename__ = "passkeys"
    __table_args__ = (UniqueConstraint("credential_id"), Index("idx_passkeys_person", "person_id"))

    id: Mapped[RowId]
    person_id: Mapped[_PersonId]
    credential_id: Mapped[bytes]
    public_key: Mapped[bytes]
    sign_count: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[CreatedAt]
    last_used_at: Mapped[dt.datetime | None]


class OidcIdentity(Base):
    """Who a person is at an issuer of OpenID Connect."""

    __tablename__ = "oidc_identities"
    __table_args__ = (Index("idx_oidc_identities_person", "person_id"),)

    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    person_id: Mapped[_PersonId]
    created_at: Mapped[CreatedAt]


class LogInChallenge(Base):
    """What is to be answered once, by its hash; by a person, or by whoever logs in."""

    __tablename__ = "log_in_challenges"
    __table_args__ = (
        Index("idx_log_in_challenges_expiry", "expires_at"),
        Index("idx_log_in_challenges_person", "person_id"),
    )

    challenge_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    purpose: Mapped[str] = mapped_column(String(30))
    person_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"))
    expires_at: Mapped[dt.datetime]


class SecurityEvent(Base):
    """Something that happened to a person's account (control_plane/people/security_events.py)."""

    __tablename__ = "security_events"
    __table_args__ = (
        Index("idx_security_events_person", "person_id", "id"),
        Index("idx_security_events_age", "at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    person_id: Mapped[_PersonId]
    at: Mapped[dt.datetime]
    kind: Mapped[str] = mapped_column(String(30))
    session_id: Mapped[uuid.UUID | None]
    about: Mapped[str | None] = mapped_column(String(255))
    address: Mapped[ipaddress.IPv4Address | ipaddress.IPv6Address | None] = mapped_column(INET)
    user_agent: Mapped[str] = mapped_column(String(255), server_default=text("''"))


class SigningKey(Base):
    """An Ed25519 key that signs access tokens from a moment on."""

    __tablename__ = "signing_keys"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    public_key: Mapped[bytes]
    private_key_sealed: Mapped[bytes] = mapped_column(deferred=True)
    signs_from: Mapped[dt.datetime]
    created_at: Mapped[CreatedAt]


class Membership(Base):
    """What somebody is in a tenant, until it ends."""

    __tablename__ = "memberships"
    __table_args__ = (
        Index(
            "idx_memberships_present",
            "tenant_id",
            "person_id",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
        Index("idx_memberships_person", "person_id", postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    person_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("people.id"))
    role: Mapped[str] = mapped_column(String(20))
    created_at: Mapped[CreatedAt]
    ended_at: Mapped[dt.datetime | None]
    #: Where they are it; None for the whole tenant.
    workspaces: Mapped[list[uuid.UUID] | None] = mapped_column(ARRAY(Uuid))


class Invitation(Base):
    """A place in a tenant for whoever has an address."""

    __tablename__ = "invitations"
    __table_args__ = (UniqueConstraint("token_sha256"), Index("idx_invitations_tenant", "tenant_id", "id"))

    id: Mapped[RowId]
    tenant_id: Mapped[TenantId]
    email: Mapped[str] = mapped_column(String(254))
    role: Mapped[str] = mapped_column(String(20))
    token_sha256: Mapped[bytes] = mapped_column(deferred=True)
    invited_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[dt.datetime]
    accepted_at: Mapped[dt.datetime | None]
    revoked_at: Mapped[dt.datetime | None]
    workspaces: Mapped[list[uuid.UUID] | None] = mapped_column(ARRAY(Uuid))
