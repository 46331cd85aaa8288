"""The texts of `show crypto pki ...`, `show crypto key ...` and `... info requests`.

Shapes as in the guide and IOS 12.4; blanks that the guide's text lost are restored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from ikelab.ios.arguments import Arguments
from ikelab.ios.snapshot import (
    CertificateRow,
    CrlRow,
    KeyRow,
    NodeSnapshot,
    PendingCertificateRow,
    RequestRow,
    ServerRow,
    TrustpointRow,
)
from ikelab.ios.text import date, grouped, serial_number, visible, without_user
from ikelab.ios.zone import Zone

# What IOS prints for a timer that is not set: the beginning of POSIX time.
_UNSET = datetime(1970, 1, 1, tzinfo=UTC)
_LEVELS = {
    "complete": "Complete - all issued certs written as <serialnum>.cer",
    "names": "Names - subject name data written as <serialnum>.cnm",
    "minimum": "Minimum - no cert data written to storage",
}
_REQUEST_TABLES = {
    "subordinate": "Subordinate CA certificate requests:",
    "ra": "RA certificate requests:",
    "router": "Router certificates requests:",
}


# --- certificates -----------------------------------------------------------------------------


def certificate_rows(snapshot: NodeSnapshot, arguments: Arguments) -> tuple[CertificateRow, ...]:
    """The certificates asked for: all, or those of one trustpoint."""
    wanted = arguments.text("trustpoint")
    rows = snapshot.certificates
    return tuple(row for row in rows if not wanted or wanted in row.trustpoints)


def pending_rows(snapshot: NodeSnapshot, arguments: Arguments) -> tuple[PendingCertificateRow, ...]:
    """The certificates still waited for, of the same."""
    wanted = arguments.text("trustpoint")
    rows = snapshot.pending_certificates
    return tuple(row for row in rows if not wanted or wanted == row.trustpoint)


def show_certificates(snapshot: NodeSnapshot, arguments: Arguments) -> Iterator[str]:
    """`show crypto pki certificates [TRUSTPOINT] [verbose]`."""
    yield from _unknown(snapshot, arguments)
    for row in certificate_rows(snapshot, arguments):
        yield from _certificate(row, snapshot.zone)
        if "verbose" in arguments:
            yield f"  Fingerprint MD5: {_fingerprint(row.fingerprint_md5)}"
            yield f"  Fingerprint SHA1: {_fingerprint(row.fingerprint_sha1)}"
        yield ""
    for pending in pending_rows(snapshot, arguments):
        yield from _pending(pending)
        yield ""


def _unknown(snapshot: NodeSnapshot, arguments: Arguments) -> Iterator[str]:
    """A line where the trustpoint asked for is none; a server has certificates under its name."""
    wanted = arguments.text("trustpoint")
    names = {row.name for row in snapshot.trustpoints} | {row.name for row in snapshot.servers}
    if wanted and wanted not in names:
        yield f"% Can't find trustpoint {wanted}"


def _certificate(row: CertificateRow, zone: Zone) -> Iterator[str]:
    yield _head(row)
    yield "  Status: Available"
    yield f"  Certificate Serial Number (hex): {serial_number(row.serial)}"
    yield f"  Certificate Usage: {row.usage}"
    yield "  Issuer:"
    yield from _indented(row.issuer)
    yield "  Subject:"
    if row.name:
        yield f"    Name: {visible(row.name)}"
    if row.address:
        yield f"    IP Address: {visible(row.address)}"
    if row.device_serial:
        yield f"    Serial Number: {visible(row.device_serial)}"
    yield from _indented(row.subject)
    if row.crl_urls:
        yield "  CRL Distribution Points:"
        yield from _indented(row.crl_urls)
    yield "  Validity Date:"
    yield f"    start date: {date(row.start, zone)}"
    yield f"    end   date: {date(row.end, zone)}"
    if row.renew:
        yield f"    renew date: {date(row.renew, zone)}"
    yield f"  Associated Trustpoints: {' '.join(row.trustpoints)}"
    if row.storage:
        yield f"  Storage: {row.storage}"


def _head(row: CertificateRow) -> str:
    if not row.rollover:
        return row.kind.value
    if row.kind.value.endswith(")"):
        return row.kind.value.replace(")", ", Rollover)")
    return f"{row.kind.value} (Rollover)"


def _pending(row: PendingCertificateRow) -> Iterator[str]:
    yield "Certificate"
    yield "  Subject:"
    yield f"    Name: {row.name}"
    yield "   Status: Pending"
    yield "   Key Usage: General Purpose"
    yield f"   Certificate Request Fingerprint MD5: {grouped(row.fingerprint_md5)}"
    yield f"   Certificate Request Fingerprint SHA1: {grouped(row.fingerprint_sha1)}"
    yield f"   Associated Trustpoint: {row.trustpoint}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {visible(line)}" for line in lines)


# --- trustpoints, CRLs ------------------------------------------------------------------------


def trustpoint_rows(snapshot: NodeSnapshot, arguments: Arguments) -> tuple[TrustpointRow, ...]:
    """The trustpoints asked for: all, or one."""
    wanted = arguments.text("trustpoint")
    return tuple(row for row in snapshot.trustpoints if wanted in ("", row.name))


def show_trustpoints(snapshot: NodeSnapshot, arguments: Arguments) -> Iterator[str]:
    """`show crypto pki trustpoints [TRUSTPOINT]`."""
    yield from _unknown(snapshot, arguments)
    for row in trustpoint_rows(snapshot, arguments):
        yield f"Trustpoint {row.name}:"
        if row.serial is None:
            yield "    Not authenticated."
        else:
            yield "    Subject Name:"
            yield from _indented(row.subject)
            yield f"          Serial Number (hex): {serial_number(row.serial)}"
            yield "    Certificate configured."
        if row.pending:
            yield "    Certificate request pending."
        if row.enrollment_url:
            yield f"    SCEP URL: {row.enrollment_url}"
        yield ""


def show_crls(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    """`show crypto pki crls`. Superseded CRLs are counted in the size, as the guide's cache is."""
    for row in snapshot.crls:
        if not row.superseded:
            yield from _crl(row, snapshot.zone)
    yield f"Parsed CRL cache current size is {sum(row.size for row in snapshot.crls)} bytes"
    yield f"Parsed CRL cache maximum size is {snapshot.crl_cache_limit} bytes"


def _crl(row: CrlRow, zone: Zone) -> Iterator[str]:
    yield "CRL Issuer Name:"
    yield from _indented(row.issuer)
    yield f"    LastUpdate: {date(row.last_update, zone)}"
    yield f"    NextUpdate: {date(row.next_update, zone)}"
    yield "    Retrieved from CRL Distribution Point:"
    yield f"      {visible(row.url)}"
    yield f"    CRL DER is {row.size} bytes"
    yield "    CRL is stored in parsed CRL cache"
    yield ""


# --- certificate servers ----------------------------------------------------------------------


def server_rows(snapshot: NodeSnapshot, arguments: Arguments) -> tuple[ServerRow, ...]:
    """The servers asked for: all, or one; storage addresses without user and password."""
    wanted = arguments.text("server")
    rows = (row for row in snapshot.servers if wanted in ("", row.name))
    return tuple(replace(row, storage=row.storage and without_user(row.storage)) for row in rows)


def show_server(snapshot: NodeSnapshot, arguments: Arguments) -> Iterator[str]:
    """`show crypto pki server [NAME]`."""
    rows = server_rows(snapshot, arguments)
    if not rows:
        yield "%Cannot find Certificate Server"
    for row in rows:
        yield f"Certificate Server {row.name}:"
        yield from (f"    {line}" for line in _server(row, snapshot.zone))


def _server(row: ServerRow, zone: Zone) -> Iterator[str]:
    yield f"Status: {row.status}"
    yield f"State: {_state(row)}"
    if row.running or row.pending_certificate:
        yield 'Server\'s configuration is locked  (enter "shut" to unlock it)'
    yield f"Issuer name: {visible(row.issuer)}"
    yield f"CA cert fingerprint: {_fingerprint(row.fingerprint)}"
    if row.subordinate:
        yield "Server configured in subordinate server mode"
        yield f"Upper CA cert fingerprint: {_fingerprint(row.upper_fingerprint)}"
    if row.registration:
        yield "Server configured in RA mode"
        yield f"RA cert fingerprint: {_fingerprint(row.ra_fingerprint)}"
        yield f"Granting mode is: {row.granting}"
        yield f"Current primary storage dir: {row.storage or 'nvram:'}"
        yield f"Database Level: {_LEVELS[row.database_level]}"
        return
    yield f"Granting mode is: {row.granting}"
    yield f"Last certificate issued serial number (hex): {row.last_serial:X}"
    yield f"CA certificate expiration timer: {date(row.expires or _UNSET, zone)}"
    if row.crl_next_update:
        yield f"CRL NextUpdate timer: {date(row.crl_next_update, zone)}"
    else:
        yield "CRL not present."
    yield f"Current primary storage dir: {row.storage or 'nvram:'}"
    yield f"Database Level: {_LEVELS[row.database_level]}"
    if row.rollover_expires:
        yield "Rollover status: available for rollover"
        yield f"Rollover CA certificate fingerprint: {_fingerprint(row.rollover_fingerprint)}"
        yield f"Rollover CA certificate expiration time: {date(row.rollover_expires, zone)}"
    if row.overlap_days is not None:
        yield f"Auto-Rollover configured, overlap period {row.overlap_days} days"
    if row.rollover_timer:
        yield f"Autorollover timer: {date(row.rollover_timer, zone)}"


def _state(row: ServerRow) -> str:
    if row.pending_certificate:
        return "check failed"
    return "enabled" if row.running else "disabled"


def _fingerprint(digits: str | None) -> str:
    return grouped(digits) if digits else "-Not found-"


def request_rows(snapshot: NodeSnapshot, arguments: Arguments) -> tuple[RequestRow, ...]:
    """The requests at one server."""
    wanted = arguments.text("server")
    return tuple(row for row in snapshot.requests if row.server == wanted)


def show_requests(snapshot: NodeSnapshot, arguments: Arguments) -> Iterator[str]:
    """`crypto pki server NAME info requests`."""
    if arguments.text("server") not in {row.name for row in snapshot.servers}:
        yield "%Cannot find Certificate Server"
        return
    rows = request_rows(snapshot, arguments)
    yield "Enrollment Request Database:"
    for kind, title in _REQUEST_TABLES.items():
        yield ""
        yield title
        yield "ReqID  State      Fingerprint                      SubjectName"
        yield "-" * 62
        for row in rows:
            if row.kind == kind:
                subject = visible(row.subject)
                yield f"{row.request_id:<6} {row.state:<10} {row.fingerprint} {subject}"
    yield ""


# --- keys -------------------------------------------------------------------------------------


def key_rows(snapshot: NodeSnapshot, arguments: Arguments) -> tuple[KeyRow, ...]:
    """The key pairs asked for: all, or one."""
    wanted = arguments.text("label")
    return tuple(row for row in snapshot.keys if wanted in ("", row.label))


def show_keys(snapshot: NodeSnapshot, arguments: Arguments) -> Iterator[str]:
    """`show crypto key mypubkey rsa [LABEL]`."""
    for row in key_rows(snapshot, arguments):
        if row.generated:
            yield f"% Key pair was generated at: {date(row.generated, snapshot.zone)}"
        yield f"Key name: {row.label}"
        yield "Key type: RSA KEYS"
        yield f" Usage: {row.usage}"
        yield f" Key is {'' if row.exportable else 'not '}exportable."
        yield " Key Data:"
        digits = grouped(row.public_key.hex().upper())
        # Seven groups of four octets and a blank a line.
        yield from (f"  {digits[i : i + 63].rstrip()}" for i in range(0, len(digits), 63))
