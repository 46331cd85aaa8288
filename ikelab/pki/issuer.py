"""What a certificate server signs and files: certificates, CRLs, and the storage's copies.

Pure functions: the CA's key and dates are arguments, the order of reserving, signing and recording
is kept by `cert_server.py`. Certificate profile: the extensions IOS is known to set (CDP, keyUsage,
authority and subject key identifiers; basicConstraints on a CA certificate).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.ca_events import RequestAuthorized, RequestGranted
from ikelab.pki.config import CertServerConfig
from ikelab.pki.crl import RevokedEntries, build_crl
from ikelab.pki.crl_status import is_of_wrong_clock
from ikelab.pki.name import read_name
from ikelab.pki.pkcs12 import Identity, dump_pkcs12
from ikelab.pki.scep import FailInfo
from ikelab.pki.store import (
    UNDECIDED,
    Authority,
    CaStore,
    EnrollmentRequest,
    IssuedCertificate,
    IssuedCrl,
    NewFile,
    RequestKind,
)
from ikelab.pki.x509 import (
    Certificate,
    CertificateRequest,
    build_certificate,
    format_name,
    load_certificate,
    load_request,
    name_values,
    names_match,
    parse_dn,
)

ROUTER_USAGE = frozenset({"digitalSignature", "keyEncipherment"})
CA_USAGE = frozenset({"digitalSignature", "keyCertSign", "cRLSign"})

_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_SERIAL_FILE = re.compile(rb"(?:db_)?version = 1\r?\nlast_serial = 0x([0-9A-Fa-f]{1,15})\s*")
_ISSUED_FILE = re.compile(r"([0-9A-Fa-f]{1,15})\.(?:crt|cnm)")


def issuer_name(config: CertServerConfig) -> bytes:
    """`issuer-name`, or cn=NAME as IOS has it by default. DER."""
    return parse_dn(config.issuer_name or f"cn={config.name}")


def sign_ca_certificate(
    config: CertServerConfig, key: RSAPrivateKey, serial: int, now: datetime
) -> bytes:
    """The root's self-signed certificate, valid from now (whole seconds). DER."""
    name = issuer_name(config)
    start = now.replace(microsecond=0)
    return build_certificate(
        serial=serial,
        issuer=name,
        subject=name,
        public_key_info=public_key_info(key),
        not_before=start,
        not_after=start + config.lifetime_ca_certificate,
        issuer_key=key,
        digest=config.hash,
        ca=True,
        key_usage=CA_USAGE,
        crl_url=None,
        authority_key_id=None,
    )


@dataclass(frozen=True, slots=True)
class Issuer:
    """Signs what the queue holds, and records it before anybody sees it.

    known_as: the certificate by which the requester knows the CA, where that is a former one of
    the same key. is_next: the CA is the one that follows, and signs ahead of its time.
    """

    config: CertServerConfig
    store: CaStore
    authority: Authority
    ca: Certificate
    legacy: bool
    known_as: Certificate | None = None
    is_next: bool = False

    @property
    def signer(self) -> Certificate:
        """Whose key opens and signs SCEP messages: the CA itself."""
        return self.known_as or self.ca

    def check(self, request: CertificateRequest) -> None:
        """Raise PkiError for a request that can only be refused, however it is granted."""
        check_request(request, self.ca)

    def grant(
        self,
        waiting: EnrollmentRequest,
        now: datetime,
        request: CertificateRequest | None = None,
    ) -> tuple[bytes | None, RequestGranted | RequestAuthorized]:
        """Sign and record the answer to a pending request; (DER, notice).

        request: what waits, where its reader has it still: it is not verified twice.
        Raises PkiError("ca-expired", "ca-ends"), or PkiError("not-pending") if somebody was faster:
        the serial number reserved is then skipped and the certificate signed is thrown away.
        """
        if waiting.state not in UNDECIDED:  # no serial number is spent on it
            raise _not_pending(waiting)
        if not self.is_next:
            check_dates(self.config, self.ca, now)
        if request is None or request.der != waiting.request:
            request = load_request(waiting.request, legacy=self.legacy)
        start = self._start(waiting, request, now)
        serial = self.store.reserve_serial()
        der = sign_certificate(
            self.config,
            self.authority,
            self.ca,
            request,
            waiting.kind,
            serial,
            start,
            self.legacy,
        )
        files = issued_files(self.config, der, serial)
        if not self.store.grant_request(waiting.number, IssuedCertificate(serial, der), files):
            raise _not_pending(waiting)
        subject = format_name(request.subject)
        return der, RequestGranted(self.config.name, waiting.request_id or 0, serial, subject)

    def _start(
        self, waiting: EnrollmentRequest, request: CertificateRequest, now: datetime
    ) -> datetime:
        """Now; of the next CA not before its own start; a CA's new key when the old one's ends.

        So the guide's du-subca has 0x20 until 11:59:41 and 0x21 from then on. Raises
        PkiError("ca-ends") where that is the end of this CA too.
        """
        start = max(now, self.ca.not_before) if self.is_next else now
        if waiting.kind is RequestKind.SUB_CA:
            old = self.store.issued(waiting.key.renews)
            renewed = None if old is None else load_certificate(old.certificate)
            if renewed is not None and renewed.public_key_info != request.public_key_info:
                start = max(start, renewed.not_after)
        if start >= self.ca.not_after:
            raise PkiError(
                "ca-ends",
                f"{format_name(request.subject)} ends with its CA {self.config.name}: what follows"
                " is asked of the next CA certificate (GetNextCACert)",
                fail_info=FailInfo.BAD_REQUEST,
            )
        return start


def _not_pending(request: EnrollmentRequest) -> PkiError:
    return PkiError("not-pending", f"request {request.request_id or 0} is not pending any more")


def check_dates(config: CertServerConfig, ca: Certificate, now: datetime) -> None:
    """A CA signs only while its own certificate holds. Raises PkiError("ca-expired")."""
    if not ca.not_before <= now < ca.not_after:
        raise PkiError(
            "ca-expired",
            f"the CA certificate of {config.name} holds from {ca.not_before:%Y-%m-%d %H:%M:%S} to"
            f" {ca.not_after:%Y-%m-%d %H:%M:%S}, now is {now:%Y-%m-%d %H:%M:%S}",
        )


def sign_certificate(
    config: CertServerConfig,
    authority: Authority,
    ca: Certificate,
    request: CertificateRequest,
    kind: RequestKind,
    serial: int,
    start: datetime,
    legacy: bool,
) -> bytes:
    """A certificate for a request, from `start` and never longer than the CA's own. DER.

    Of what the requester wrote only name, key and alternative names are taken over; what the
    certificate may be used for is the CA's decision.
    """
    start = start.replace(microsecond=0)
    is_ca = kind is RequestKind.SUB_CA
    fqdns, addresses = ((), ()) if is_ca else _alternative_names(request, legacy)
    return build_certificate(
        serial=serial,
        issuer=ca.subject,
        subject=request.subject,
        public_key_info=request.public_key_info,
        not_before=start,
        not_after=min(start + config.lifetime_certificate, ca.not_after),
        issuer_key=authority.key,
        digest=config.hash,
        ca=is_ca,
        key_usage=CA_USAGE if is_ca else ROUTER_USAGE,
        crl_url=config.cdp_url,
        authority_key_id=ca.subject_key_id,
        fqdns=fqdns,
        addresses=addresses,
    )


def _alternative_names(
    request: CertificateRequest, legacy: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Host names and addresses for subjectAltName.

    Peers of today look for a router's name there only; the certificates of 2009 (539 octets in the
    guide's log) have it in the subject alone, so what stands there is not repeated for them.
    """
    if not legacy:
        return request.fqdns, request.addresses
    own = {text.lower() for text in name_values(request.subject)}
    return (
        tuple(fqdn for fqdn in request.fqdns if fqdn.lower() not in own),
        tuple(address for address in request.addresses if address not in own),
    )


def crl_version(config: CertServerConfig, legacy: bool) -> int:
    """Of our CRLs: what is configured, else 1 in the guide's time and 2 since."""
    return config.crl_version or (1 if legacy else 2)


def sign_crl(
    config: CertServerConfig,
    authority: Authority,
    revoked: RevokedEntries,
    last: IssuedCrl | None,
    now: datetime,
) -> IssuedCrl:
    """The CRL that follows `last`: a greater number, and never an earlier thisUpdate.

    revoked: of `crl_version`. Version 1 is without extensions, as the guide's 218 octets show; the
    number is then only in our own records. A clock that was set back keeps the last date until it
    has caught up; but a date that was wrong by far does not count, or nobody could use a CRL of
    this CA for years.
    """
    ca = load_certificate(authority.certificate)
    start = now.replace(microsecond=0)
    if last is not None and not is_of_wrong_clock(last.this_update, start):
        start = max(start, last.this_update)
    number = 1 if last is None else last.number + 1
    end = start + config.lifetime_crl
    plain = revoked.version == 1
    crl = build_crl(
        issuer=ca.subject,
        this_update=start,
        next_update=end,
        number=None if plain else number,
        revoked=revoked,
        key=authority.key,
        digest=config.hash,
        authority_key_id=None if plain else ca.subject_key_id,
        version=revoked.version,
    )
    return IssuedCrl(number, start, end, crl)


def names_registration_authority(subject: bytes) -> bool:
    """Whether a Name (DER) has cn=ioscs RA or ou=ioscs RA, by which IOS knows its RAs."""
    return any(
        key.lower() in ("cn", "ou") and value.strip().lower() == "ioscs ra"
        for rdn in read_name(subject)
        for key, value in rdn
    )


def kind_of(request: CertificateRequest) -> RequestKind:
    """What a request asks to become; what it may become is the CA's decision."""
    if request.requests_ca:
        return RequestKind.SUB_CA
    if names_registration_authority(request.subject):
        return RequestKind.RA
    return RequestKind.ROUTER


def check_request(request: CertificateRequest, ca: Certificate) -> None:
    """Names no CA of ours signs, however the request is granted. Raises PkiError("bad-name")."""
    if names_match(request.subject, ca.subject):
        raise _bad_name("the name of this CA itself")
    values = name_values(request.subject)
    if not values and not request.fqdns and not request.addresses:
        raise _bad_name("no name at all")
    if not all(text and text.isprintable() for text in values):
        raise _bad_name("a name with control characters in it")
    for fqdn in request.fqdns:
        if len(fqdn) > 253 or not all(map(_HOST_LABEL.fullmatch, fqdn.split("."))):
            raise _bad_name(f"{fqdn!r:.80}, not a host name (wildcards are not signed)")


def _bad_name(detail: str) -> PkiError:
    return PkiError("bad-name", f"the request: {detail}", fail_info=FailInfo.BAD_REQUEST)


# --- storage files --------------------------------------------------------------------------------


def issued_files(config: CertServerConfig, certificate: bytes, last_serial: int) -> list[NewFile]:
    """Files of one issue by `database level`, in the guide's order: .crt, .cnm, NAME.ser."""
    if config.database_level == "minimum":
        return [serial_file(config.name, last_serial)]
    parsed = load_certificate(certificate)
    files: list[NewFile] = []
    if config.database_level == "complete":
        files.append((f"{parsed.serial:X}.crt", certificate))
    text = (
        f"subjectname_str = {format_name(parsed.subject)}\n"
        f"expiration = {parsed.not_after:%H:%M:%S UTC %b %d %Y}\n"
    )
    files.append((f"{parsed.serial:X}.cnm", text.encode()))
    files.append(serial_file(config.name, last_serial))
    return files


def serial_file(name: str, last_serial: int) -> NewFile:
    """NAME.ser: 32 octets for a one-digit serial, as the guide's "OK - 32/4096 bytes" shows.

    The layout is a fit to that size, not a documented one.
    """
    return f"{name}.ser", f"db_version = 1\nlast_serial = 0x{last_serial:X}".encode()


def restored_serial(name: str, serial_octets: bytes | None, names: Iterable[str]) -> int:
    """The highest serial number a storage knows of: the .ser file's or that of any .crt or .cnm.

    The files of one issue are written .crt, .cnm, .ser: a storage that broke off in between has a
    certificate of a higher number than its .ser says. serial_octets None: no .ser file there.
    Raises PkiError("storage-unreadable") for a .ser that is not one.
    """
    issued = [int(found[1], 16) for file in names if (found := _ISSUED_FILE.fullmatch(file))]
    if serial_octets is None:
        return max(issued, default=0)
    parsed = _SERIAL_FILE.fullmatch(serial_octets)
    if parsed is None:
        raise PkiError(
            "storage-unreadable",
            f"There was a problem reading the file '{name}.ser' from certificate storage:"
            f" {len(serial_octets)} octets that do not name the last serial number",
        )
    return max([int(parsed[1], 16), *issued])


def archive_file(config: CertServerConfig, authority: Authority, legacy: bool) -> list[NewFile]:
    """NAME_0000N.p12 with the CA's key and certificates, if `database archive` gives a password.

    N is one more than the generation: the first archive of the guide's servers is _00002.
    """
    if config.archive_password is None:
        return []
    identity = Identity(authority.key, authority.certificate, authority.chain)
    octets = dump_pkcs12(identity, config.name, config.archive_password, legacy=legacy)
    return [(f"{config.name}_{authority.generation + 1:05d}.p12", octets)]
