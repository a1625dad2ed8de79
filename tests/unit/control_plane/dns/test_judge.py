import pytest

from control_plane.dns.judge import Verdict, judge
from control_plane.dns.problems import REMEDIES, Problem
from control_plane.dns.records import DnsRecord

SPF = DnsRecord("acme.example", "TXT", "@", "v=spf1 ip4:192.0.2.7 ~all")
DKIM = DnsRecord("acme.example", "TXT", "pm1._domainkey", "v=DKIM1; k=rsa; p=MIIBIj")
DMARC = DnsRecord("acme.example", "TXT", "_dmarc", "v=DMARC1; p=none; rua=mailto:dmarc@acme.example")
MX = DnsRecord("acme.example", "MX", "@", "10 mx-1.penguin.example")
TLSRPT = DnsRecord("acme.example", "TXT", "_smtp._tls", "v=TLSRPTv1; rua=mailto:tls@acme.example")
MTA_STS = DnsRecord("acme.example", "TXT", "_mta-sts", "v=STSv1; id=1a2b;")
SRV = DnsRecord("acme.example", "SRV", "_imaps._tcp", "0 1 993 mx-1.penguin.example")


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (SPF, [SPF.value]),
        (SPF, ["google-site-verification=abc", SPF.value]),
        (SPF, ["v=spf1 include:_spf.other.example +ip4:192.0.2.7 -all"]),
        (DKIM, [DKIM.value]),
        (DKIM, ["v=DKIM1; h=sha256; k=rsa; p=MIIB Ij"]),
        (DMARC, ["v=DMARC1; p=reject"]),
        (MX, [MX.value, "20 backup.acme.example"]),
        (TLSRPT, ["v=TLSRPTv1;rua=https://reports.other.example/v1,mailto:tls@acme.example"]),
        (SRV, [SRV.value]),
    ],
)
def test_what_does_the_work_is_verified(record: DnsRecord, found: list[str]) -> None:
    assert judge(record, found).verdict is Verdict.VERIFIED


@pytest.mark.parametrize(
    ("record", "found", "words"),
    [
        (SPF, [], "nothing"),
        (SPF, ["v=spf1 include:_spf.other.example -all"], "_spf.other.example"),
        (SPF, [SPF.value, "v=spf1 -all"], "only one"),
        (DKIM, ["v=DKIM1; k=rsa; p="], "p="),
        (DMARC, [DMARC.value, "v=DMARC1; p=reject"], "only one"),
        (DMARC, ["v=DMARC1"], "v=DMARC1"),
        (DMARC, ["v=DMARC1; p=everything"], "RFC 9989"),
        (SPF, ["v=spf1 ip4:192.0.2.7 +all"], "~all or -all"),
        (SPF, ["v=spf1 ip4:192.0.2.999 ip4:192.0.2.7 ~all"], "RFC 7208"),
        (MX, ["CNAME shop.other.example"], "Remove the CNAME"),
        (MX, ["10 mail.other.example"], "mail.other.example"),
    ],
)
def test_what_does_not_is_a_mismatch_and_says_what_was_found(record: DnsRecord, found: list[str], words: str) -> None:
    judgement = judge(record, found)

    assert judgement.verdict is Verdict.MISMATCH
    assert words in (judgement.detail or "")


@pytest.mark.parametrize(
    ("record", "found", "problem"),
    [
        (SPF, [], Problem.MISSING),
        (SPF, [SPF.value, "v=spf1 -all"], Problem.SPF_TWO_RECORDS),
        (SPF, ["v=spf1 -all ip4:192.0.2.7"], Problem.SPF_WITHOUT_OUR_SERVERS),
        (SPF, ["v=spf1 ip4:192.0.2.7 all"], Problem.SPF_PASSES_EVERYBODY),
        (SPF, ["v=spf1 ipv4:192.0.2.7 ~all"], Problem.SPF_SYNTAX),
        (DMARC, [DMARC.value, "v=DMARC1; p=reject"], Problem.DMARC_TWO_RECORDS),
        (DMARC, ["v=DMARC1; p=all"], Problem.DMARC_SYNTAX),
        (DKIM, ["v=DKIM1; k=rsa; p=other"], Problem.DKIM_OTHER_KEY),
        (MX, ["10 mail.other.example"], Problem.MAIL_GOES_ELSEWHERE),
        (TLSRPT, ["site=1"], Problem.MISSING),
        (TLSRPT, [TLSRPT.value, "v=TLSRPTv1; rua=mailto:x@acme.example"], Problem.TLS_REPORTS_TWO_RECORDS),
        (TLSRPT, ["v=TLSRPTv1; rua=tls@acme.example"], Problem.TLS_REPORTS_SYNTAX),
        (TLSRPT, ["v=TLSRPTv1"], Problem.TLS_REPORTS_SYNTAX),
        (TLSRPT, ["v=TLSRPTv1; rua=mailto:before@acme.example"], Problem.DIFFERENT),
        (MTA_STS, [MTA_STS.value, "v=STSv1; id=3c4d;"], Problem.MTA_STS_TWO_RECORDS),
        (MTA_STS, ["v=STSv1; id=3c4d;"], Problem.DIFFERENT),
        (MTA_STS, ["site=1"], Problem.MISSING),
        (SRV, ["0 1 993 imap.other.example"], Problem.DIFFERENT),
        (MX, ["CNAME shop.other.example"], Problem.ALIAS_IN_THE_WAY),
        (DnsRecord("penguin.example", "A", "mx-1", "192.0.2.7"), ["192.0.2.8"], Problem.DIFFERENT),
    ],
)
def test_each_thing_that_can_be_wrong_has_a_name_and_says_how_to_go_on(
    record: DnsRecord, found: list[str], problem: Problem
) -> None:
    judgement = judge(record, found)

    assert judgement.problem is problem
    assert (judgement.detail or "").endswith(REMEDIES[problem])


def test_each_problem_has_its_remedy() -> None:
    assert set(REMEDIES) == set(Problem)
