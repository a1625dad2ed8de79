"""The server whose files are kept: a little of everything that a renderer can meet."""

from dataclasses import replace

from mailstack.spec import (
    Alias,
    CopyDoor,
    DkimKey,
    Mailbox,
    MailboxCopy,
    MailDomain,
    MailForward,
    MailServerSpec,
    Platform,
    ProbeMailbox,
    SendingAddress,
)

#: By name of the folder that holds the files.
PLATFORMS = {
    "debian-12": Platform(postfix=(3, 7), dovecot=(2, 3)),
    "debian-13": Platform(postfix=(3, 10), dovecot=(2, 4)),
}

#: The form of a key and not one.
NO_REAL_KEY = b"-----BEGIN PRIVATE KEY-----\nbm90IGEga2V5\n-----END PRIVATE KEY-----\n"

_HASH = "{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo"

SPEC = MailServerSpec(
    hostname="mx1.fleet.example",
    ipv4_address="192.0.2.11",
    nameservers=("192.0.2.53", "198.51.100.53"),
    domains=(
        MailDomain(
            "shop.example",
            (DkimKey("pm2", NO_REAL_KEY), DkimKey("pm1", NO_REAL_KEY, active=False)),
        ),
        MailDomain("xn--bcher-kva.example", (DkimKey("pm1", NO_REAL_KEY),)),
        MailDomain("no-key.example"),
    ),
    mailboxes=(
        Mailbox("jane.doe@shop.example", _HASH),
        Mailbox("info@xn--bcher-kva.example", _HASH, quota_mb=500),
        Mailbox("postmaster@no-key.example", _HASH),
    ),
    aliases=(
        Alias("abuse@shop.example", ("jane.doe@shop.example",)),
        Alias("sales@shop.example", ("jane.doe@shop.example", "O'Neil+shop@elsewhere.example")),
    ),
    probe=ProbeMailbox("penguin-probe@mx1.fleet.example", "sixteen-or-more-characters"),
)

_POLICY = "version: STSv1\nmode: {}\nmx: mx1.fleet.example\n{}max_age: {}\n"

#: The same server with the MTA-STS policies of two domains, whose names lead to it but for one.
POLICIES = replace(
    SPEC,
    domains=(
        replace(
            SPEC.domains[0],
            mta_sts_policy=_POLICY.format("enforce", "mx: mx2.fleet.example\n", 604800),
            mta_sts_certified=True,
        ),
        replace(SPEC.domains[1], mta_sts_policy=_POLICY.format("testing", "", 86400)),
        SPEC.domains[2],
    ),
)

#: The same server with settings for mail programs of two domains, whose names lead to it but for those of one.
CLIENTS = replace(
    SPEC,
    domains=(
        replace(SPEC.domains[0], client_settings=True, client_settings_certified=True),
        replace(SPEC.domains[1], client_settings=True),
        SPEC.domains[2],
    ),
)

#: The same server with further addresses, one of them bound to by nobody yet.
POOLED = replace(
    SPEC,
    sending_addresses=(
        SendingAddress("192.0.2.21", "mx1-a1.fleet.example", ("jane.doe@shop.example", "info@xn--bcher-kva.example")),
        SendingAddress("192.0.2.22", "mx1-a2.fleet.example"),
    ),
)

#: The same server with an IPv6 address that its PTR does not name yet, and once it does.
UNNAMED = replace(SPEC, ipv6_address="2001:db8:1::1")
NAMED = replace(POOLED, ipv6_address="2001:db8:1::1", sends_over_ipv6=True)

#: The same server while one mailbox moves here from another server, and another has moved away.
MOVING = replace(
    SPEC,
    domains=(*SPEC.domains, MailDomain("gone.example"), MailDomain("going.example")),
    forwards=(
        MailForward("old@gone.example", "mx2.fleet.example"),
        MailForward("old@going.example", None),
        MailForward("jane.doe@shop.example", "mx2.fleet.example"),
    ),
    copy_doors=(
        CopyDoor("penguin-move-0123456789ab@mx1.fleet.example", _HASH, "old@going.example", "198.51.100.12"),
        CopyDoor(
            "penguin-move-0123456789ac@mx1.fleet.example", _HASH, "old@gone.example", "198.51.100.13", "2001:db8:2::1"
        ),
    ),
    copies=(
        MailboxCopy(
            "jane.doe@shop.example",
            "mx2.fleet.example",
            "penguin-move-ba9876543210@mx2.fleet.example",
            "made_by-machine-and-long",
            verify_certificate=True,
        ),
    ),
)
