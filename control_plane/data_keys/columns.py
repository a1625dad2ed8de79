"""The one table of what is sealed in the database, by which all of it is found when keys change.

A test compares it with the schema: a column named *_sealed that is not here is an error.
"""

from dataclasses import dataclass

from control_plane.sealing import PLATFORMS, TENANTS


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column; its values are sealed for `<place>:<row id>`, by tenants' keys or the platform's."""

    table: str
    column: str
    place: str
    row_id: str = "id"
    version: bytes = TENANTS


COLUMNS = (
    SealedColumn("vps_servers", "probe_password_sealed", "vps_servers.probe_password"),
    SealedColumn("dkim_keys", "private_key_sealed", "dkim_keys.private_key"),
    SealedColumn("dns_publishers", "credentials_sealed", "dns_publishers.credentials_sealed", "domain_id"),
    SealedColumn("webhook_endpoints", "secret_sealed", "webhook_endpoints.secret_sealed"),
    SealedColumn("webhook_endpoints", "previous_secret_sealed", "webhook_endpoints.secret_sealed"),
    SealedColumn("inbox_moves", "password_sealed", "inbox_moves.password"),
    SealedColumn("signing_secrets", "secret_sealed", "signing_secrets.secret_sealed", "api_key_id"),
    SealedColumn("server_rebuilds", "key_sealed", "server_rebuilds.key_sealed"),
    SealedColumn("mail_backup_targets", "target_sealed", "mail_backup_targets.target_sealed", "tenant_id"),
    SealedColumn("totp_secrets", "secret_sealed", "totp_secrets.secret_sealed", "person_id", PLATFORMS),
    SealedColumn("alert_channels", "target_sealed", "alert_channels.target_sealed", version=PLATFORMS),
    SealedColumn("signing_keys", "private_key_sealed", "signing_keys.private_key_sealed", version=PLATFORMS),
    SealedColumn(
        "certificate_authorities", "private_key_sealed", "certificate_authorities.private_key", version=PLATFORMS
    ),
)
