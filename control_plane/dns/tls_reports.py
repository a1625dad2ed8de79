"""TLS reporting policies (RFC 8460, section 3): read one. Pure."""

_SCHEMES = ("mailto:", "https:")


class TlsReportsBroken(ValueError):
    """Nobody would report by the record; the message says why."""


def parse_tls_reports(value: str) -> tuple[str, ...]:
    """Return where a TXT value asks reports to be sent; raise `TlsReportsBroken`.

    The version is compared with regard to case; tags that are not known are passed over.
    """
    version, *parts = [part.strip() for part in value.split(";")]
    if version != "v=TLSRPTv1":
        raise TlsReportsBroken("it does not begin with v=TLSRPTv1")
    addresses = [part.partition("=")[2] for part in parts if part.partition("=")[0].rstrip() == "rua"]
    if len(addresses) != 1:
        raise TlsReportsBroken(f"it has {len(addresses)} rua and needs one")
    uris = tuple(uri.strip() for uri in addresses[0].split(","))
    if not all(uri.startswith(_SCHEMES) and uri.partition(":")[2] and "!" not in uri for uri in uris):
        raise TlsReportsBroken(f"{addresses[0]} is no list of addresses as mailto:name@domain")
    return uris
