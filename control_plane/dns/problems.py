"""What can be wrong with a record in its zone: each by name, with the sentence that says how to go on.

The names are part of the REST contract (`dns_records.problem`).
"""

import enum
from collections.abc import Mapping


class Problem(enum.StrEnum):
    """Why a record is not verified, or cannot be published."""

    #: The zone has nothing for it.
    MISSING = "missing"
    #: The zone says something else.
    DIFFERENT = "different"
    #: Mail of the domain is taken to other servers.
    MAIL_GOES_ELSEWHERE = "mail_goes_elsewhere"
    #: The name is an alias, and an alias has no other records (RFC 2181, section 10.1).
    ALIAS_IN_THE_WAY = "alias_in_the_way"
    SPF_TWO_RECORDS = "spf_two_records"
    SPF_SYNTAX = "spf_syntax"
    SPF_PASSES_EVERYBODY = "spf_passes_everybody"
    SPF_TOO_MANY_LOOKUPS = "spf_too_many_lookups"
    SPF_TOO_MANY_VOID_LOOKUPS = "spf_too_many_void_lookups"
    #: The record is sound and does not pass each of our servers.
    SPF_WITHOUT_OUR_SERVERS = "spf_without_our_servers"
    DMARC_TWO_RECORDS = "dmarc_two_records"
    DMARC_SYNTAX = "dmarc_syntax"
    DKIM_TWO_RECORDS = "dkim_two_records"
    DKIM_OTHER_KEY = "dkim_other_key"
    TLS_REPORTS_TWO_RECORDS = "tls_reports_two_records"
    TLS_REPORTS_SYNTAX = "tls_reports_syntax"
    MTA_STS_TWO_RECORDS = "mta_sts_two_records"
    #: The DNS host took what we wrote, and the zone's name servers do not say it.
    ZONE_IGNORES_UPDATES = "zone_ignores_updates"


REMEDIES: Mapping[Problem, str] = {
    Problem.MISSING: "Publish the record as it is shown, or have it repaired.",
    Problem.DIFFERENT: "Change the record to what is shown, or remove it and have ours published.",
    Problem.MAIL_GOES_ELSEWHERE: "Replace the MX records by the one shown, or send from a subdomain of its own.",
    Problem.ALIAS_IN_THE_WAY: "Remove the CNAME, or send from a name that is no alias.",
    Problem.SPF_TWO_RECORDS: "Join all SPF records into one, and then have it repaired.",
    Problem.SPF_SYNTAX: "Correct the SPF record (RFC 7208), and then have it repaired.",
    Problem.SPF_PASSES_EVERYBODY: "End the SPF record in ~all or -all, and then have it repaired.",
    Problem.SPF_TOO_MANY_LOOKUPS: "Remove what is not used any more until at most 10 look-ups are needed.",
    Problem.SPF_TOO_MANY_VOID_LOOKUPS: "Remove the names that do not exist from the SPF record; it may have 2.",
    Problem.SPF_WITHOUT_OUR_SERVERS: "Add the addresses of the record shown to the SPF record, or have it repaired.",
    Problem.DMARC_TWO_RECORDS: "Leave one DMARC record, for with two neither counts.",
    Problem.DMARC_SYNTAX: "Correct the DMARC record (RFC 9989), or remove it and have ours published.",
    Problem.DKIM_TWO_RECORDS: "Leave the one record that is shown at this name.",
    Problem.DKIM_OTHER_KEY: "Replace the key by the one shown; the name is ours alone.",
    Problem.TLS_REPORTS_TWO_RECORDS: "Leave one TLS-RPT record, for with two neither counts.",
    Problem.TLS_REPORTS_SYNTAX: "Correct the TLS-RPT record (RFC 8460), or remove it and have ours published.",
    Problem.MTA_STS_TWO_RECORDS: "Leave one MTA-STS record, for with two there is no policy.",
    Problem.ZONE_IGNORES_UPDATES: (
        "Make sure that the domain is delegated to the DNS host that is set for it, or set the one that it is at."
    ),
}
