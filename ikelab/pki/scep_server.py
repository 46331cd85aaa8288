"""The CA's side of SCEP (RFC 8894) over HTTP: one request in, one reply out, still to be signed.

A request is the same as an earlier one if CA key, transactionID, PKCS#10, signer's key and the
certificate renewed are the same; it then gets the same answer, whatever was lost on the way.
Whoever asks learns little: a message that cannot be opened, verified or placed is answered by a
CertRep with failInfo, and only the notice says what was wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from ikelab.errors import PkiError
from ikelab.pki import scep
from ikelab.pki.algorithms import refuse_weak
from ikelab.pki.ca_events import CaNotice, HttpIn, HttpOut, RequestQueued, RequestRefused
from ikelab.pki.cert_rep import ToSign, UnsignedCertRep
from ikelab.pki.cms import build_degenerate
from ikelab.pki.envelope import find_recipient
from ikelab.pki.issuer import Issuer, kind_of, names_registration_authority
from ikelab.pki.one_time_password import open_password
from ikelab.pki.scep import FailInfo, MessageType, PkiStatus, ScepMessage
from ikelab.pki.scep_query import decode_message, read_query
from ikelab.pki.store import (
    UNDECIDED,
    Authority,
    EnrollmentRequest,
    NewRequest,
    RequestKey,
    RequestKind,
    RequestState,
)
from ikelab.pki.x509 import (
    Certificate,
    CertificateRequest,
    fingerprint,
    format_name,
    load_certificate,
    load_request,
    names_match,
)

# The GET of a request for RSA-4096 with its base64 and escapes is 9 KB.
_MAX_TARGET = 16384
_MAX_BODY = 65536

_CRL_TYPE = "application/pkix-crl"
_DIGESTS = ("SHA-256", "SHA-384", "SHA-512")
_MODERN = ("AES", "POSTPKIOperation", "Renewal", "SCEPStandard", *_DIGESTS)
_LEGACY = (*_MODERN[:-3], "DES3", "SHA-1", *_DIGESTS)


def capabilities(legacy: bool, *, rollover: bool = False) -> tuple[str, ...]:
    """GetCACaps keywords (RFC 8894 section 3.5.2). rollover: there is a next CA certificate.

    SHA-384 has no keyword there, but strongSwan 5.9.8 takes AES from nobody who does not list it.
    """
    return (*(_LEGACY if legacy else _MODERN), *(("GetNextCACert",) if rollover else ()))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a CertRep is to say. certificates, crls: DER, for SUCCESS only."""

    status: PkiStatus
    certificates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    fail_info: FailInfo | None = None


class ScepServer:
    """Answers for one CA at one moment; all state is in the store of its issuer.

    others: who opens messages that are not for this issuer's certificate, each for its own.
    following: the CA's next generation.
    """

    def __init__(
        self,
        issuer: Issuer,
        others: Callable[[], Iterable[Issuer]] = lambda: (),
        following: Callable[[], Authority | None] = lambda: None,
    ) -> None:
        self._issuer = issuer
        self._others = others
        self._following = following
        self._config = issuer.config
        self._store = issuer.store
        self._legacy = issuer.legacy

    # --- HTTP -------------------------------------------------------------------------------------

    def answer(self, request: HttpIn, now: datetime) -> HttpOut:
        """Any HTTP request: SCEP by its `operation`, this CA's CRL by its path, or 400 and 404."""
        if len(request.target) > _MAX_TARGET or len(request.body) > _MAX_BODY:
            return self._turned_away(400, "request-too-large", "16 KB of target, 64 KB of body")
        path, _, query = request.target.partition("?")
        parameters = read_query(query)
        operation = parameters.get("operation", b"")
        if operation == b"PKIOperation":
            return self._pki_operation(request, parameters.get("message"), now)
        if request.method != "GET":
            return self._turned_away(400, "bad-method", "only PKIOperation is posted")
        if operation == b"GetCACaps":
            rollover = self._following() is not None
            text = "\n".join(capabilities(self._legacy, rollover=rollover)) + "\n"
            return HttpOut(200, scep.CAPABILITIES_TYPE, text.encode())
        if operation == b"GetCACert":
            return self._ca_certificates()
        if operation == b"GetNextCACert":
            return self._next_ca_certificates()
        if operation == b"GetCRL" or (not operation and self._is_crl_path(path)):
            return self._crl()
        return self._turned_away(404, "unknown-operation", "no such file or operation here")

    def _ca_certificates(self) -> HttpOut:
        """A root alone; a sub-CA with the CAs above it, so that a router can hold them all."""
        authority = self._issuer.authority
        if not authority.chain:
            return HttpOut(200, scep.CA_CERTIFICATE_TYPE, authority.certificate)
        chain = (authority.certificate, *authority.chain)
        return HttpOut(200, scep.CA_RA_CERTIFICATES_TYPE, build_degenerate(chain))

    def _next_ca_certificates(self) -> HttpOut:
        """The rollover certificate with those above it, signed by the CA of today."""
        following = self._following()
        if following is None:
            return self._turned_away(404, "no-rollover", "there is no next CA certificate yet")
        certificates = (following.certificate, *following.chain)
        key, ca = self._issuer.authority.key, self._issuer.ca
        body = scep.build_next_ca(certificates, ca, key, self._config.hash)
        return HttpOut(200, scep.NEXT_CA_CERTIFICATE_TYPE, body)

    def _crl(self) -> HttpOut:
        crl = self._store.load_crl()
        if crl is None:
            return self._turned_away(404, "no-crl", "no CRL was published yet")
        return HttpOut(200, _CRL_TYPE, crl.crl)

    def _is_crl_path(self, path: str) -> bool:
        """NAME.crl in any directory, or the path of our own `cdp-url`."""
        if path.rpartition("/")[2] == f"{self._config.name}.crl":
            return True
        return bool(self._config.cdp_url) and path == urlsplit(self._config.cdp_url or "").path

    def _pki_operation(self, request: HttpIn, message: bytes | None, now: datetime) -> HttpOut:
        octets = request.body
        try:
            if request.method == "GET":
                octets = decode_message(message)
            parsed = scep.read_message(octets)
            asked = self._asked(parsed)
            answer, notices = asked._process(parsed, now)
            unsigned = asked._to_sign(parsed, answer)
            return HttpOut(200, scep.PKI_MESSAGE_TYPE, b"", notices, unsigned)
        except PkiError as error:
            return self._turned_away(400, error.reason, error.detail)

    def _asked(self, message: ScepMessage) -> ScepServer:
        """Who the message is encrypted for: that one opens, signs and answers it."""
        envelope = message.envelope
        if envelope is None or find_recipient(envelope, self._issuer.signer) is not None:
            return self
        others = (item for item in self._others() if find_recipient(envelope, item.signer))
        other = next(others, None)
        return self if other is None else ScepServer(other)

    def _to_sign(self, message: ScepMessage, answer: _Answer) -> ToSign:
        reply = UnsignedCertRep.to(
            message,
            answer.status,
            certificates=answer.certificates,
            crls=answer.crls,
            fail_info=answer.fail_info,
        )
        issuer = self._issuer
        return ToSign(self._config.name, reply, issuer.signer, issuer.authority.key)

    def _turned_away(self, status: int, reason: str, detail: str) -> HttpOut:
        refused = RequestRefused(self._config.name, "HTTP", "", reason, detail)
        return HttpOut(status, "text/plain", b"refused\n", (refused,))

    # --- SCEP -------------------------------------------------------------------------------------

    def _process(self, message: ScepMessage, now: datetime) -> tuple[_Answer, tuple[CaNotice, ...]]:
        notices: list[CaNotice] = []
        try:
            answer = self._dispatch(message, now, notices)
        except PkiError as error:
            refused = RequestRefused(
                self._config.name,
                _message_name(message.message_type),
                message.transaction_id,
                error.reason,
                error.detail,
            )
            info = scep.fail_info_of(error)
            return _Answer(PkiStatus.FAILURE, fail_info=info), (*notices, refused)
        return answer, tuple(notices)

    def _dispatch(self, message: ScepMessage, now: datetime, notices: list[CaNotice]) -> _Answer:
        """Verify, then what was asked for. Every type has an envelope for this CA.

        Nobody proves to know what is in it, and CBC lets it be changed: where an answer told good
        padding from bad, a captured request with its password could be read octet by octet
        (Vaudenay 2002). So whatever is wrong with it, the recipient too, has one answer a type,
        and a poll, whose content is of no use, is not opened.
        """
        scep.verify_message(message, legacy=self._legacy)
        if message.envelope is None:
            raise _bad_request("no-content", "the message has no envelope")
        refuse_weak("the message", legacy=self._legacy, cipher=message.envelope.cipher)
        match message.message_type:
            case MessageType.PKCS_REQ | MessageType.RENEWAL_REQ:
                return self._enroll(message, now, notices)
            case MessageType.CERT_POLL:
                return self._poll(message, now, notices)
            case MessageType.GET_CERT:
                return self._get_cert(message, now)
            case MessageType.GET_CRL:
                return self._get_crl(message)
            case _:
                raise _bad_request("message-type", "this CA does not serve that message type")

    def _open(self, message: ScepMessage) -> bytes:
        own = (self._issuer.signer, self._issuer.authority.key)
        return scep.open_content(message, [own], legacy=self._legacy)[1]

    def _request(self, message: ScepMessage) -> CertificateRequest:
        """The PKCS #10, with one answer for all that is wrong before its own signature holds."""
        try:
            return load_request(self._open(message), legacy=self._legacy)
        except PkiError as error:
            if error.reason == "weak-algorithm":  # found after the signature
                raise
            failed = FailInfo.BAD_MESSAGE_CHECK
            raise PkiError(error.reason, error.detail, fail_info=failed) from None

    def _enroll(self, message: ScepMessage, now: datetime, notices: list[CaNotice]) -> _Answer:
        """PKCSReq and RenewalReq: which it is, the signer's certificate says (old clients: 19).

        A registration authority signs what it forwards with its own certificate.
        """
        request = self._request(message)
        holder = self._holder(message.signer, request, now)
        forwarded = holder is not None and _forwards(holder, request)
        renewed = None if forwarded else holder
        key = RequestKey(
            generation=self._issuer.authority.generation,
            transaction_id=message.transaction_id,
            request_digest=hashlib.sha256(request.der).digest(),
            signer_key=_key_digest(message.signer),
            renews=0 if renewed is None else renewed.serial,
        )
        known = self._store.find_transaction(key.generation, key.transaction_id)
        found = next((row for row in known if row.key == key), None)
        if found is None:
            _refuse_second_request(key, known)
            found = self._queue(key, request, renewed, now, forwarded=forwarded)
            if not found.automatic:
                notices.append(queued_notice(self._config.name, found))
        return self._outcome(found, now, notices, request)

    def _queue(
        self,
        key: RequestKey,
        request: CertificateRequest,
        renewed: Certificate | None,
        now: datetime,
        *,
        forwarded: bool,
    ) -> EnrollmentRequest:
        self._issuer.check(request)
        kind = kind_of(request)
        if renewed is not None:
            _check_renewal(request, renewed)
        if forwarded and kind is not RequestKind.ROUTER:
            raise _bad_request("not-for-an-ra", "an RA speaks for routers, for no CA and no RA")
        # The challenge of a forwarded request was meant for the RA.
        password = None if forwarded else open_password(self._store, request, now)
        new = NewRequest(
            key=key,
            kind=kind,
            request=request.der,
            subject=request.subject,
            received=now.replace(microsecond=0),
            automatic=self._is_automatic(kind, renewed, password)
            or (forwarded and self._config.grant == "ra-auto"),
        )
        added = self._store.add_request(new, password)
        if added is None:
            raise _bad_request("password-used", "the one-time password was used meanwhile")
        return added

    def _is_automatic(
        self, kind: RequestKind, renewed: Certificate | None, password: bytes | None
    ) -> bool:
        """`grant auto`; a one-time password for a router; a sub-CA's renewal if that is allowed.

        Never a new RA, whose word is then taken for everybody's: that is for a person to say.
        """
        if kind is RequestKind.RA and renewed is None:
            return False
        if self._config.grant == "auto":
            return True
        if kind is RequestKind.SUB_CA:
            return renewed is not None and self._config.grant_auto_rollover_ca_cert
        return password is not None

    def _holder(
        self, signer: Certificate, request: CertificateRequest, now: datetime
    ) -> Certificate | None:
        """The certificate of ours that signed, to be renewed or an RA's; None: a first enrollment.

        Raises PkiError with badRequest for one that is revoked or outdated, with badMessageCheck
        for a signer that neither holds the key of the request nor a certificate of ours.
        """
        issued = self._store.issued(signer.serial)
        if issued is None or issued.certificate != signer.der:
            if signer.public_key_info != request.public_key_info:
                raise PkiError(
                    "unknown-signer",
                    f"signed by {format_name(signer.subject)}, which is neither the key of the"
                    " request nor certified by this CA",
                    fail_info=FailInfo.BAD_MESSAGE_CHECK,
                )
            return None
        if issued.revoked_at is not None:
            raise _bad_request("renewal-revoked", f"0x{signer.serial:X} is revoked")
        if not signer.not_before <= now <= signer.not_after:
            raise _bad_request(
                "renewal-expired",
                f"0x{signer.serial:X} ended {signer.not_after:%Y-%m-%d %H:%M:%S}",
            )
        return signer

    def _outcome(
        self,
        row: EnrollmentRequest,
        now: datetime,
        notices: list[CaNotice],
        request: CertificateRequest | None = None,
    ) -> _Answer:
        """What has become of a request; an automatic one is granted now, also after a crash."""
        if row.state is RequestState.REJECTED:
            raise _bad_request("rejected", f"request {row.request_id or 0} was rejected")
        certificate = row.certificate
        if row.state is RequestState.PENDING and row.automatic:
            certificate, notice = self._issuer.grant(row, now, request)
            notices.append(notice)
        if certificate is None:
            return _Answer(PkiStatus.PENDING)
        ca = (self._issuer.ca.der,) if self._config.certrep_ca else ()
        return _Answer(PkiStatus.SUCCESS, (certificate, *ca))

    def _poll(self, message: ScepMessage, now: datetime, notices: list[CaNotice]) -> _Answer:
        """CertPoll, by transactionID and the key that signed; the names in it are not looked at.

        RFC 8894 section 3.3.3 has the client repeat them, but clients differ in what they write.
        """
        rows = self._store.find_transaction(
            self._issuer.authority.generation, message.transaction_id
        )
        if not rows:
            raise PkiError(
                "unknown-transaction", "nothing to poll for", fail_info=FailInfo.BAD_CERT_ID
            )
        signer = _key_digest(message.signer)
        row = next((row for row in rows if row.key.signer_key == signer), None)
        if row is None:
            raise PkiError(
                "other-key",
                "polled with another key than the request was signed with",
                fail_info=FailInfo.BAD_MESSAGE_CHECK,
            )
        return self._outcome(row, now, notices)

    def _get_cert(self, message: ScepMessage, now: datetime) -> _Answer:
        """GetCert: for the owner of the key, and for those who hold a good certificate of ours."""
        serial = self._wanted_serial(message)
        issued = self._store.issued(serial)
        if issued is None or not self._may_see(message.signer, issued.certificate, now):
            raise PkiError(
                "unknown-certificate",
                f"0x{serial:X} is not there, or not for the asker",
                fail_info=FailInfo.BAD_CERT_ID,
            )
        return _Answer(PkiStatus.SUCCESS, (issued.certificate,))

    def _may_see(self, signer: Certificate, certificate: bytes, now: datetime) -> bool:
        if signer.public_key_info == load_certificate(certificate).public_key_info:
            return True
        own = self._store.issued(signer.serial)
        return (
            own is not None
            and own.certificate == signer.der
            and own.revoked_at is None
            and signer.not_before <= now <= signer.not_after
        )

    def _get_crl(self, message: ScepMessage) -> _Answer:
        """GetCRL: for anybody, as the file is."""
        self._wanted_serial(message)
        crl = self._store.load_crl()
        if crl is None:
            raise PkiError("no-crl", "no CRL was published yet", fail_info=FailInfo.BAD_CERT_ID)
        return _Answer(PkiStatus.SUCCESS, crls=(crl.crl,))

    def _wanted_serial(self, message: ScepMessage) -> int:
        """Of GetCert and GetCRL; the issuer must be this CA. All errors are badCertId."""
        try:
            issuer, serial = scep.read_issuer_and_serial(self._open(message))
        except PkiError as error:
            failed = FailInfo.BAD_CERT_ID
            raise PkiError(error.reason, error.detail, fail_info=failed) from None
        if not names_match(issuer, self._issuer.ca.subject):
            raise PkiError(
                "unknown-certificate",
                f"issued by {format_name(issuer)}, not by this CA",
                fail_info=FailInfo.BAD_CERT_ID,
            )
        return serial


def queued_notice(server: str, row: EnrollmentRequest) -> RequestQueued:
    """The notice of a request that waits."""
    return RequestQueued(
        server,
        row.request_id or 0,
        row.kind,
        fingerprint(row.request, "md5"),
        format_name(row.subject),
    )


def _refuse_second_request(key: RequestKey, known: Iterable[EnrollmentRequest]) -> None:
    """One requester, one transactionID, one PKCS#10 at a time: the queue stays as it was."""
    for other in known:
        if other.key.signer_key == key.signer_key and other.state in UNDECIDED:
            waits = f"request {other.request_id or 0} waits under the same transactionID"
            raise _bad_request("transaction-busy", waits)


def _forwards(holder: Certificate, request: CertificateRequest) -> bool:
    """Whether a certificate of ours is that of an RA, which asks for somebody else here."""
    return names_registration_authority(holder.subject) and not names_match(
        holder.subject, request.subject
    )


def _check_renewal(request: CertificateRequest, old: Certificate) -> None:
    """A renewal keeps the name, the alternative names and the rank of the certificate it renews."""
    if request.subject != old.subject or request.requests_ca != old.is_ca:
        raise _bad_request(
            "renewal-changed",
            f"{format_name(old.subject)} cannot be renewed as {format_name(request.subject)}",
        )
    if not set(request.fqdns) <= set(old.fqdns) or not set(request.addresses) <= set(old.addresses):
        raise _bad_request("renewal-changed", "the renewal asks for names the old one has not")


def _bad_request(reason: str, detail: str) -> PkiError:
    return PkiError(reason, detail, fail_info=FailInfo.BAD_REQUEST)


def _key_digest(signer: Certificate) -> bytes:
    return hashlib.sha256(signer.public_key_info).digest()


def _message_name(number: int) -> str:
    try:
        return MessageType(number).name
    except ValueError:
        return f"message type {number}"
