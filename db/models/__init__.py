from db.models.alerting import AlertChannel, AlertGroup, AlertNotice, AlertSilence
from db.models.audit import AuditEvent
from db.models.backups import BackupResult
from db.models.base import Base
from db.models.data_keys import KeyRotation, PlatformDataKey, TenantDataKey
from db.models.healing import HealingActRow, HealingCondition, HealingForbidden
from db.models.inbox_moves import InboxMove
from db.models.inboxes import DkimKeyRow, DnsPublisher, DnsRecordRow, Domain, Inbox, InboxAlias
from db.models.kept_answers import AnswerToOperator, AnswerToPerson, KeptAnswer
from db.models.mail_backups import MailBackupTarget
from db.models.messages import IdempotencyKey, InboxDailySends, Message, MessageEvent, Suppression, SuppressionKey
from db.models.monitoring import Alert, HealthCheck, HealthHour, HealthReportRow, HealthSample, Hub, ServerHealthRow
from db.models.operators import OperatorAct, PlatformKey
from db.models.people import (
    Invitation,
    LogInChallenge,
    Membership,
    OidcIdentity,
    OneTimeToken,
    Passkey,
    Person,
    RecoveryCode,
    RefreshToken,
    SecurityEvent,
    Session,
    SigningKey,
    SignUp,
    TotpSecret,
)
from db.models.pipelines import PipelineRun, PipelineStep
from db.models.pools import AddressReputation, InboxSender, IpPool, IpPoolAddress, SenderBinding, ServerAddress
from db.models.preflight import PreflightResult, RefusedAddress
from db.models.privacy import DataSubjectErasure
from db.models.providers import ProviderLook, ProviderOrder, ProviderRateLimit, StrayServer
from db.models.queue import Pause
from db.models.servers import AgentCertificate, CertificateAuthority, JoinToken, VpsReport, VpsServer
from db.models.signing import SigningSecret
from db.models.tenancy import ApiKeyRow, Tenant, Workspace
from db.models.upgrades import FleetConfiguration, Release, Upgrade, UpgradeServer
from db.models.webhooks import TenantEvent, WebhookDelivery, WebhookEndpoint

#: What the migrated schema is compared with.
metadata = Base.metadata

__all__ = [
    "AddressReputation",
    "AgentCertificate",
    "Alert",
    "AlertChannel",
    "AlertGroup",
    "AlertNotice",
    "AlertSilence",
    "AnswerToOperator",
    "AnswerToPerson",
    "ApiKeyRow",
    "AuditEvent",
    "BackupResult",
    "CertificateAuthority",
    "DataSubjectErasure",
    "DkimKeyRow",
    "DnsPublisher",
    "DnsRecordRow",
    "Domain",
    "FleetConfiguration",
    "HealingActRow",
    "HealingCondition",
    "HealingForbidden",
    "HealthCheck",
    "HealthHour",
    "HealthReportRow",
    "HealthSample",
    "Hub",
    "IdempotencyKey",
    "Inbox",
    "InboxAlias",
    "InboxDailySends",
    "InboxMove",
    "InboxSender",
    "Invitation",
    "IpPool",
    "IpPoolAddress",
    "JoinToken",
    "KeptAnswer",
    "KeyRotation",
    "LogInChallenge",
    "MailBackupTarget",
    "Membership",
    "Message",
    "MessageEvent",
    "OidcIdentity",
    "OneTimeToken",
    "OperatorAct",
    "Passkey",
    "Pause",
    "Person",
    "PipelineRun",
    "PipelineStep",
    "PlatformDataKey",
    "PlatformKey",
    "PreflightResult",
    "ProviderLook",
    "ProviderOrder",
    "ProviderRateLimit",
    "RecoveryCode",
    "RefreshToken",
    "RefusedAddress",
    "Release",
    "SecurityEvent",
    "SenderBinding",
    "ServerAddress",
    "ServerHealthRow",
    "Session",
    "SignUp",
    "SigningKey",
    "SigningSecret",
    "StrayServer",
    "Suppression",
    "SuppressionKey",
    "Tenant",
    "TenantDataKey",
    "TenantEvent",
    "TotpSecret",
    "Upgrade",
    "UpgradeServer",
    "VpsReport",
    "VpsServer",
    "WebhookDelivery",
    "WebhookEndpoint",
    "Workspace",
    "metadata",
]
