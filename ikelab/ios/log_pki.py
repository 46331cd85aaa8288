"""Log and console lines of trustpoints and certificate servers.

IOS's texts from the guide where there are such, else our own, marked as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import urlsplit

from ikelab.ios.debugging import PKI_MESSAGES, PKI_TRANSACTIONS
from ikelab.ios.log_line import LogLine, own
from ikelab.ios.text import date, grouped, serial_number, visible, without_user
from ikelab.ios.zone import UTC_ZONE, Zone
from ikelab.pki import ca_events as ca
from ikelab.pki import enrollment_events as enrollment
from ikelab.pki import events as pki


def pki_lines(notice: object, zone: Zone = UTC_ZONE) -> Iterator[LogLine]:
    """The lines of one notice; none for anything else."""
    yield from _trustpoint(notice, zone)
    yield from _crl(notice, zone)
    yield from _server(notice, zone)


def _trustpoint(notice: object, zone: Zone) -> Iterator[LogLine]:
    match notice:
        case pki.HttpRequest(method=method, url=url):
            parts = urlsplit(url)
            target = visible(parts.path + (f"?{parts.query}" if parts.query else ""))
            head = f"{method} {target} HTTP/1.0\nHost: {visible(parts.hostname or '')}"
            yield LogLine("CRYPTO_PKI: http connection opened", PKI_MESSAGES)
            yield LogLine(f"CRYPTO_PKI: Sending HTTP message\n{head}", PKI_MESSAGES)
        case enrollment.CaCertificateOffered():
            yield _console(certificate_offer(notice))
        case pki.CaCertificateAccepted():
            yield _console("Trustpoint CA certificate accepted.")
        case enrollment.AuthenticationFailed(trustpoint, reason, detail):
            if reason == "no-url":
                text = "% You must specify an enrollment URL for this CA before"
                yield _console(f"{text}\nyou can authenticate it.")
            yield _console("% Failed to authenticate the Certificate Authority")
            yield own("PKI", f"trustpoint {trustpoint}: {reason}: {detail}")
        case enrollment.KeyPairGenerated(bits=bits):
            yield LogLine(f"%CRYPTO-6-AUTOGEN: Generated new {bits} bit key pair")
        case enrollment.RenewalStarted(trustpoint):
            text = f"Renewing the router certificate for trustpoint {trustpoint}"
            yield LogLine(f"%PKI-6-CERTRENEWAUTO: {text}")
        case enrollment.FallbackStarted(trustpoint, fallback):
            text = f"no answer from the CA, the router turns to that of trustpoint {fallback}"
            yield own("PKI", f"trustpoint {trustpoint}: {text}")
        case pki.RequestSent():
            request = "CRYPTO_PKI:  Certificate Request Fingerprint"
            yield LogLine(f"{request} MD5: {grouped(notice.fingerprint_md5)}")
            yield LogLine(f"{request} SHA1: {grouped(notice.fingerprint_sha1)}")
        case pki.EnrollmentPending(trustpoint, retry, unanswered):
            text = f"the CA keeps the request, next poll in {retry:.0f} s"
            if unanswered:
                text = f"no answer from the CA: {visible(unanswered)}; next try in {retry:.0f} s"
            yield own("PKI", f"trustpoint {trustpoint}: {text}")
        case pki.CertificateInstalled():
            yield LogLine("%PKI-6-CERTRET: Certificate received from Certificate Authority")
        case pki.NextCertificateHeld():
            yield LogLine("%PKI-6-CERTRET: Certificate received from Certificate Authority")
            number, start = serial_number(notice.serial), date(notice.start, zone)
            text = f"certificate {number} is held until its time, {start}"
            yield own("PKI", f"trustpoint {notice.trustpoint}: {text}")
        case pki.NextCaHeld():
            ca, start = visible(notice.subject), date(notice.start, zone)
            number = serial_number(notice.serial)
            text = f"the next CA certificate is here: {ca}, {number}, from {start}"
            yield own("PKI", f"trustpoint {notice.trustpoint}: {text}")
        case pki.CaRenewed():
            ca, end = visible(notice.subject), date(notice.end, zone)
            text = f"{ca} has a new certificate, {serial_number(notice.serial)}, until {end}"
            yield own("PKI", f"trustpoint {notice.trustpoint}: {text}")
        case pki.NextCaMissing(trustpoint, reason, retry):
            text = f"the renewal waits for the next CA certificate: {reason}"
            yield own("PKI", f"trustpoint {trustpoint}: {text}; next look in {retry:.0f} s")
        case pki.GenerationSwapped(trustpoint, serial, ca_serial):
            own_part = "none of ours" if serial is None else f"certificate {serial_number(serial)}"
            text = f"in force now: CA certificate {serial_number(ca_serial)}, {own_part}"
            yield own("PKI", f"trustpoint {trustpoint}: {text}")
        case pki.EnrollmentFailed(trustpoint, reason, rejected):
            if rejected:
                words = "Certificate enrollment request was rejected by Certificate Authority"
                yield LogLine(f"%PKI-6-CERTREJECT: {words}")
            else:
                yield LogLine("%PKI-6-CERTFAIL: Certificate enrollment failed.")
            yield own("PKI", f"trustpoint {trustpoint}: {reason}")


def _crl(notice: object, zone: Zone) -> Iterator[LogLine]:
    match notice:
        case pki.CrlInstalled(issuer, url, size):
            yield own("CRL", f"{issuer}: {size} octets fetched from {url}")
        case pki.CrlRefused(issuer, url, reason):
            if notice.published is not None and notice.clock is not None:
                yield from _early_crl(notice.trustpoint, notice.published, notice.clock, zone)
            yield own("CRL", f"{issuer}: not taken from {url}: {reason}")


def _early_crl(
    trustpoint: str, published: datetime, clock: datetime, zone: Zone
) -> Iterator[LogLine]:
    """The guide's lines of a CRL from the future ("Certificate Is Not Yet Valid")."""
    text = "New CRL Not Yet Valid (router time not synched to CA?)"
    yield LogLine(f"CRYPTO_PKI: {text}", PKI_TRANSACTIONS)
    yield LogLine(f"CRL published: {date(published, zone)}", PKI_TRANSACTIONS)
    yield LogLine(f"Router time: {date(clock, zone)}", PKI_TRANSACTIONS)
    error = "error 1804:E_VALIDITY : validity period start later than end"
    yield LogLine(f'%PKI-4-CRLINSERTFAIL: Trustpoint "{trustpoint}" unknown ({error})')


def _server(notice: object, zone: Zone) -> Iterator[LogLine]:
    match notice:
        case ca.ServerKeyGenerated(bits=bits):
            text = f"% Generating {bits} bit RSA keys, keys will be non-exportable...[OK]"
            yield _console(text)
        case ca.ServerEnabled():
            yield LogLine("%PKI-6-CS_ENABLED: Certificate server now enabled.")
        case ca.ServerDisabled():
            yield LogLine("%PKI-6-CS_DISABLED: Certificate server now disabled.")
        case ca.RolloverAvailable(server, serial, start):
            text = f"rollover certificate {serial_number(serial)} takes over {date(start, zone)}"
            yield own("CA", f"{server}: {text}")
        case ca.RolloverDone(server, serial, end):
            text = f"CA certificate {serial_number(serial)} is in force, until {date(end, zone)}"
            yield own("CA", f"{server}: {text}")
        case ca.CertificateRevoked(serial=serial, again=again):
            number = serial_number(serial)
            if again:
                yield own("CA", f"certificate {number} was revoked before")
            else:  # the guide's own spelling
                yield _console(f"% Certificate {number} succesfully revoked.")
        case ca.RequestQueued():
            text = f"request {notice.request_id} waits: {notice.subject}, MD5 {notice.fingerprint}"
            yield own("CA", f"{notice.server}: {text}")
        case ca.RequestGranted(server, request_id, serial, subject):
            text = f"request {request_id} granted: certificate {serial_number(serial)}, {subject}"
            yield own("CA", f"{server}: {text}")
        case ca.RequestAuthorized(server, request_id, subject):
            text = f"request {request_id} authorized: {subject}; the CA is asked to sign it"
            yield own("CA", f"{server}: {text}")
        case ca.RequestRefused():
            text = f"{notice.message} refused: {notice.reason}: {notice.detail}"
            yield own("CA", f"{notice.server}: {text}")
        case ca.RequestRejected(server, request_id):
            yield own("CA", f"{server}: request {request_id} rejected, by command")
        case ca.RequestRemoved(server, request_id, expired):
            why = "it waited too long" if expired else "by command"
            yield own("CA", f"{server}: request {request_id} removed, {why}")
        case ca.FileWritten(name=name):
            yield _console(f"Writing {visible(name)} !")
        case ca.FileLoaded(name=name, size=size):
            yield _console(loading(name, size))
        case ca.StorageUnreadable(server, name, detail):
            yield _console(f"% There was a problem reading the file '{visible(name)}'")
            yield _console("%from certificate storage.")
            yield _console("% Please verify storage accessibility")
            yield _console("% and enable the server again.")
            yield own("STORAGE", f"{server}: {detail}")
        case ca.ArchiveMade():
            yield _console("% Exporting Certificate Server signing certificate and keys...")
        case ca.ServerRemoved(server, url, unwritten):
            yield _console(
                "Certificate server 'remove server' event has been queued for processing."
            )
            storage = without_user(url) if url else "nvram:"
            text = f"{server}: its files stay in {storage}: a recovered server goes on from them"
            lost = f"; never written: {', '.join(unwritten)}" if unwritten else ""
            yield own("STORAGE", text + lost)
        case ca.ServerNotStarted(server, reason, detail):
            yield own("CA", f"{server} is not started: {reason}: {detail}")
        case ca.CrlPublished():
            text = f"CRL {notice.number} of {notice.size} octets published"
            yield own("CA", f"{notice.server}: {text}")


def loading(name: str, size: int) -> str:
    """IOS's line for a file read: its octets, and those of the buffer, which grows by 4096."""
    room = max(-(-size // 4096), 1) * 4096
    return f"Loading {visible(name)}[OK - {size}/{room} bytes]"


def certificate_offer(notice: enrollment.CaCertificateOffered) -> str:
    """The dialogue of `crypto pki authenticate` up to its question."""
    subordinate = f"Trustpoint '{notice.trustpoint}' is a subordinate CA and holds a non self"
    head = f"{subordinate} signed cert\n" if notice.subordinate else ""
    return (
        f"{head}Certificate has the following attributes:\n"
        f"       Fingerprint MD5: {grouped(notice.fingerprint_md5)}\n"
        f"      Fingerprint SHA1: {grouped(notice.fingerprint_sha1)}\n\n"
        "% Do you accept this certificate? [yes/no]:"
    )


def _console(text: str) -> LogLine:
    return LogLine(text, stamped=False)
