"""Where things lie on a mail server: the names that two services, or a service and the agent, must agree on."""

#: The served key and its certificate chain (PEM) in one file, read by Postfix and Dovecot: replaced by one rename, so
#: that no process that starts meanwhile finds a certificate without its key.
TLS_PAIR = "/etc/penguin/tls/served.pem"
#: Which certificate is to be had from whom; written with the configuration, read by whoever asks the authority.
CERTIFICATE_ORDER = "/etc/penguin/tls/order.json"
#: When a certificate was asked for by a command, and how long port 80 is open for it.
CERTIFICATE_ASKED = "/etc/penguin/tls/asked.json"
#: The values of the records for an authority that every name server said last, one a line.
CERTIFICATE_CHALLENGES_SHOWN = "/etc/penguin/tls/challenges-shown"

#: Milters listen on Unix sockets: one on TCP stalls 44-90 ms on each message (Nagle against delayed ACK).
OPENDKIM_SOCKET = "/run/opendkim/opendkim.sock"
OPENDMARC_SOCKET = "/run/opendmarc/opendmarc.sock"

#: Dovecot makes these inside Postfix's queue directory; Postfix names them relative to it.
POSTFIX_QUEUE = "/var/spool/postfix"
SASL_SOCKET = "private/auth"
LMTP_SOCKET = "private/dovecot-lmtp"

#: Mailboxes belong to this account alone; no tenant has an account of the operating system.
MAIL_USER = "vmail"
MAIL_USER_ID = 5000
MAIL_ROOT = "/var/mail/vhosts"

#: Written by Postfix's postlogd, read by the agent.
MAIL_LOG = "/var/log/mail.log"
MAIL_LOG_GROUP = "penguin-agent"

#: Where the agent hands over finished messages, on 127.0.0.1 only.
INJECTION_PORT = 10025
#: Where nginx hands what Outlook asks to itself, on 127.0.0.1 only.
AUTODISCOVER_PORT = 10026

#: Where mailboxes are backed up to, with what opens it; for root alone.
BACKUP_ORDER = "/etc/penguin/backup.json"
#: All mail, sealed, while the server is rebuilt; for root alone.
MAIL_ARCHIVE = "/var/lib/penguin-rebuild/mail.sealed"
