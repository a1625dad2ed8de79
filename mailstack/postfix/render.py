"""Postfix's files: main.cf, master.cf and the lookup tables, for 3.7 (Debian 12) and 3.10 (Debian 13)."""

from collections.abc import Iterable

from mailstack import layout
from mailstack.postfix.shares import Share, shares
from mailstack.rendered_file import OnChange, RenderedFile, Service
from mailstack.spec import MailServerSpec, Platform
from mailstack.templating import fill
from mailstack.tunables import Tunables

DIRECTORY = "/etc/postfix"
MAPS = f"{DIRECTORY}/maps"

#: Where mail goes that is to stay in the queue for a while: nobody listens there. For what the table sends to retry(8)
#: smtpd refuses the recipient (450), and the sender may come back in an hour.
_KEPT_WAITING = "smtp:[127.0.0.1]:1"
#: Every domain must take mail for these (RFC 5321 §4.5.1, RFC 2142 §4 and §5).
_ROLE_NAMES = ("abuse", "postmaster")
#: Beside them, the host itself gets mail for these: cron's output, and answers to bounces.
_HOST_ROLE_NAMES = (*_ROLE_NAMES, "mailer-daemon", "root")
#: Limits of a transport: each address has its own.
_RATE_DELAY, _CONCURRENCY = "smtp_destination_rate_delay", "smtp_destination_concurrency_limit"
#: What main.cf leaves to Postfix unless it is set.
_ELSEWHERE_UNSAID = (_RATE_DELAY, "smtp_connect_timeout")


def render(spec: MailServerSpec, platform: Platform) -> tuple[RenderedFile, ...]:
    """Return Postfix's files. Tables other than `domains` are noticed by Postfix itself and reload nothing."""
    submission_options = fill(
        __package__, "submission_options.j2", platform=platform, opendkim_socket=layout.OPENDKIM_SOCKET
    ).decode()
    parts = shares(spec)
    main_cf = fill(
        __package__,
        "main.cf.j2",
        hostname=spec.hostname,
        platform=platform,
        lmtp_socket=layout.LMTP_SOCKET,
        sasl_socket=layout.SASL_SOCKET,
        tls_pair=layout.TLS_PAIR,
        opendkim_socket=layout.OPENDKIM_SOCKET,
        opendmarc_socket=layout.OPENDMARC_SOCKET,
        mail_log=layout.MAIL_LOG,
        shares=parts,
        forwards=spec.forwards,
        tunables=spec.tunables,
        set_for_fleet=_set_for_fleet(spec.tunables, parts),
        ipv6_address=spec.ipv6_address,
        sends_over_ipv6=spec.sends_over_ipv6,
    )
    master_cf = fill(
        __package__,
        "master.cf.j2",
        submission_options=submission_options,
        injection_port=layout.INJECTION_PORT,
        platform=platform,
        shares=parts,
        keeps_to_ipv4=spec.ipv6_address is not None and not spec.sends_over_ipv6,
        has_ipv6=spec.ipv6_address is not None,
    )
    return (
        RenderedFile(f"{DIRECTORY}/main.cf", main_cf, (Service.POSTFIX,)),
        RenderedFile(f"{DIRECTORY}/master.cf", master_cf, (Service.POSTFIX,)),
        # trivial-rewrite keeps this table open for long; only a reload shows it a new domain at once.
        _table("domains", ((domain, "OK") for domain in spec.receiving_domains), OnChange.RELOAD),
        _table("mailboxes", ((address, "OK") for address in _known_addresses(spec)), OnChange.NOTHING),
        _table("aliases", _aliases(spec), OnChange.NOTHING),
        _table("senders", _senders(spec), OnChange.NOTHING),
        *_sender_transports(parts),
        *_forwards(spec),
    )


def _set_for_fleet(tunables: Tunables, parts: tuple[Share, ...]) -> list[tuple[str, str]]:
    """Return what is not as it is shipped and stands nowhere else in main.cf."""
    changed = tunables.changed
    lines = [(name, changed[name]) for name in _ELSEWHERE_UNSAID if name in changed]
    if delay := changed.get(_RATE_DELAY):
        lines += [(_RATE_DELAY.replace("smtp", part.transport, 1), delay) for part in parts]
    if not parts and _CONCURRENCY in changed:
        lines.append((_CONCURRENCY, changed[_CONCURRENCY]))
    return lines


def _table(name: str, rows: Iterable[tuple[str, str]], on_change: OnChange) -> RenderedFile:
    content = "".join(f"{key} {value}\n" for key, value in sorted(rows))
    return RenderedFile(f"{MAPS}/{name}", content.encode(), (Service.POSTFIX,), on_change, postmap=True)


def _sender_transports(parts: tuple[Share, ...]) -> tuple[RenderedFile, ...]:
    """Return the table that binds senders to addresses, if the server has more than one."""
    if not parts:
        return ()
    rows = ((sender, f"{part.transport}:") for part in parts for sender in part.senders)
    # trivial-rewrite keeps this table open for long as well.
    return (_table("sender_transports", rows, OnChange.RELOAD),)


def _forwards(spec: MailServerSpec) -> tuple[RenderedFile, ...]:
    """Return where mail for mailboxes that move goes, and that it goes there over TLS, if any moves."""
    if not spec.forwards:
        return ()
    # Names in brackets are hosts and not domains: no MX is looked up.
    routes = ((each.address, f"smtp:[{each.host}]" if each.host else _KEPT_WAITING) for each in spec.forwards)
    policies = ((f"[{host}]", "encrypt") for host in {each.host for each in spec.forwards if each.host})
    return (
        _table("forwards", routes, OnChange.RELOAD),
        _table("forward_tls", policies, OnChange.RELOAD),
    )


def _mailbox_addresses(spec: MailServerSpec) -> list[str]:
    return [spec.probe.address, *(mailbox.address for mailbox in spec.mailboxes)]


def _known_addresses(spec: MailServerSpec) -> list[str]:
    forwarded = {forward.address for forward in spec.forwards}
    return [*(address for address in _mailbox_addresses(spec) if address not in forwarded), *sorted(forwarded)]


def _aliases(spec: MailServerSpec) -> list[tuple[str, str]]:
    """Return the spec's aliases, and the role addresses it does not define, which lead to the probe's mailbox."""
    rows = {alias.address: ", ".join(alias.targets) for alias in spec.aliases}
    taken = {*rows, *_known_addresses(spec)}
    for domain in spec.receiving_domains:
        for name in _HOST_ROLE_NAMES if domain == spec.hostname else _ROLE_NAMES:
            if f"{name}@{domain}" not in taken:
                rows[f"{name}@{domain}"] = spec.probe.address
    return list(rows.items())


def _senders(spec: MailServerSpec) -> list[tuple[str, str]]:
    """Return who may send as each address: a mailbox as itself, and as an alias that leads to it."""
    mailboxes = set(_mailbox_addresses(spec))
    rows = [(address, address) for address in mailboxes]
    for alias in spec.aliases:
        owners = [target for target in alias.targets if target in mailboxes]
        if owners:
            rows.append((alias.address, ", ".join(owners)))
    return rows
