import pytest

from control_plane.dns.judge import Verdict, judge
from control_plane.dns.records import DnsRecord

SPF = DnsRecord("acme.example", "TXT", "@", "v=spf1 ip4:192.0.2.7 ~all")
DKIM = DnsRecord("acme.example", "TXT", "pm1._domainkey", "v=DKIM1; k=rsa; p=MIIBIj")
DMARC = DnsRecord("acme.example", "TXT", "_dmarc", "v=DMARC1; p=none; rua=mailto:dmarc@acme.example")
MX = DnsRecord("acme.example", "MX", "@", "10 mx-1.penguin.example")


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
        (MX, ["10 mail.other.example"], "mail.other.example"),
    ],
)
def test_what_does_not_is_a_mismatch_and_says_what_was_found(record: DnsRecord, found: list[str], words: str) -> None:
    judgement = judge(record, found)

    assert judgement.verdict is Verdict.MISMATCH
    assert words in (judgement.detail or "")
