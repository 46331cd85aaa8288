"""The router's side of SCEP (RFC 8894): requests as octets, and what the CA's answers are worth.

What a CA sends over plain HTTP is believed for its signature only: the certificate accepted by its
fingerprint must have signed the CertRep, or an RA that this CA certified for it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from urllib.parse import quote, urlsplit

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki import scep
from ikelab.pki.algorithms import key_identifier, public_key_info, refuse_weak
from ikelab.pki.cms import build_degenerate
from ikelab.pki.config import TrustpointConfig
from ikelab.pki.enrollment_events import Device
from ikelab.pki.events import HttpRequest
from ikelab.pki.name import build_name, names_match, parse_dn, read_name
from ikelab.pki.scep import CertRep, PkiStatus, Transaction
from ikelab.pki.store import PendingEnrollment
from ikelab.pki.x509 import (
    Certificate,
    build_request,
    fingerprint,
    format_name,
    load_certificate,
    load_request,
)
from ikelab.types import Rng

# A chain of a few CAs; a CertRep with one certificate.
_MAX_REPLY = 65536
# Of the self-signed certificate of one message: it is good for the answer, not for more.
_SIGNER_LIFE = timedelta(days=1)

_DIGEST_KEYWORDS = (
    ("sha256", "SHA-256"),
    ("sha512", "SHA-512"),
    ("sha384", "SHA-384"),
    ("sha1", "SHA-1"),
)
# failInfo (RFC 8894 section 3.2.1.4) in words for the console.
_FAIL_WORDS = {
    0: "an algorithm it does not take",
    1: "the integrity check of our message failed",
    2: "the request is not permitted",
    3: "our time is too far from its own",
    4: "it knows no such certificate or request",
}


@dataclass(frozen=True, slots=True)
class CaBundle:
    """What GetCACert gave: the CA that signs, the CAs above it, and its registration authorities.

    upper: the issuer of `ca` first, each verified by the signature below it. present: the CA of
    today, where this is the next one.
    """

    ca: Certificate
    upper: tuple[Certificate, ...] = ()
    ra: tuple[Certificate, ...] = ()
    present: Certificate | None = None

    @property
    def signers(self) -> tuple[Certificate, ...]:
        """Who may sign an answer. RFC 8894 does not say with which of two keys a CA signs that to a
        request for the next one.
        """
        return (self.ca, *self.ra, *filter(None, (self.present,)))

    @property
    def recipient(self) -> Certificate:
        """Who requests are encrypted for: an RA that may decipher keys, else the CA."""
        for ra in self.ra:
            if ra.key_usage is None or "keyEncipherment" in ra.key_usage:
                return ra
        return self.ca


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs a message and can open its answer."""

    certificate: Certificate
    key: RSAPrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that waits for its CertRep. subject_key: SPKI (DER) the certificate must hold."""

    octets: bytes = field(repr=False)
    nonce: bytes
    transaction: Transaction
    subject_key: bytes


def parse_capabilities(body: bytes) -> tuple[str, ...]:
    """Keywords of GetCACaps, one a line, LF or CRLF (RFC 8894 section 3.5.2)."""
    lines = body[:4096].decode("ascii", "replace").split("\n")
    return tuple(line.strip() for line in lines if line.strip().isprintable() and line.strip())[:64]


def read_ca_certificates(body: bytes, at: datetime, *, legacy: bool) -> CaBundle:
    """Sort what GetCACert gave, one certificate or a degenerate PKCS #7 in any order.

    Nothing here is trusted yet but what hangs on `ca`, which somebody accepts by its fingerprint.
    Raises PkiError.
    """
    if len(body) > _MAX_REPLY:
        raise PkiError("malformed-ca", f"{len(body)} octets of CA certificates")
    certificates = [load_certificate(der) for der in scep.read_certificates(body)]
    cas = [item for item in certificates if item.is_ca]
    lowest = [ca for ca in cas if not any(_is_below(other, ca) for other in cas)]
    if len(lowest) != 1:
        raise PkiError("not-a-ca", f"{len(lowest)} of {len(certificates)} could be the CA's own")
    ca = lowest[0]
    if not ca.not_before <= at <= ca.not_after:
        raise PkiError(
            "not-yet-valid" if at < ca.not_before else "expired",
            f"the CA certificate holds from {ca.not_before:%Y-%m-%d %H:%M:%S} to"
            f" {ca.not_after:%Y-%m-%d %H:%M:%S}, now is {at:%Y-%m-%d %H:%M:%S}",
        )
    if ca.is_self_issued and not ca.is_signed_by(ca.public_key):
        raise PkiError("bad-signature", "the CA certificate is not signed with its own key")
    refuse_weak("the CA certificate", legacy=legacy, digest=ca.digest, key=ca.public_key)
    ra = tuple(item for item in certificates if not item.is_ca and _issued(item, ca))
    return CaBundle(ca, _upper(ca, cas), ra)


def read_next_ca_certificates(
    body: bytes, present: CaBundle, at: datetime, *, legacy: bool
) -> CaBundle:
    """What GetNextCACert gave: the CA certificate that will follow the present one.

    It is the present CA's word, by its signature, so nobody needs to look at a fingerprint again.
    Raises PkiError, "wrong-name" where it is for another CA than the present one, "new-root" where
    a subordinate CA would have us trust another root than the one it is below.
    """
    if len(body) > _MAX_REPLY:
        raise PkiError("malformed-ca", f"{len(body)} octets of CA certificates")
    announced = scep.read_next_ca(body, present.ca, legacy=legacy)
    start = max([at, *(load_certificate(der).not_before for der in announced)])
    found = read_ca_certificates(build_degenerate(announced), start, legacy=legacy)
    if not names_match(found.ca.subject, present.ca.subject):
        raise PkiError(
            "wrong-name",
            f"{format_name(present.ca.subject)} announces {format_name(found.ca.subject)} as next",
        )
    if not present.upper and not present.ca.is_self_issued:
        return replace(found, upper=())  # it was accepted alone
    _check_succession(found, present)
    return found


def _check_succession(found: CaBundle, present: CaBundle) -> None:
    """A CA speaks for its own next key. The CAs above it must be those that are known, or their
    successors, which begin when they end: else whoever has stolen a subordinate CA's key could set
    a root of his own above it, and with that speak for all its sister CAs.
    """
    known = (present.ca, *present.upper)
    if found.ca.is_self_issued and not present.ca.is_self_issued:
        raise PkiError("new-root", f"{format_name(found.ca.subject)} announces itself as a root")
    for above in found.upper:
        same = [ca for ca in known if names_match(ca.subject, above.subject)]
        if not any(
            ca.public_key_info == above.public_key_info or above.not_before >= ca.not_after
            for ca in same
        ):
            raise PkiError(
                "new-root",
                f"{format_name(present.ca.subject)} announces the CA {format_name(above.subject)}"
                " above it, which is neither held nor the successor of one that ends",
            )


def _is_below(other: Certificate, ca: Certificate) -> bool:
    return not other.is_self_issued and names_match(other.issuer, ca.subject)


def _issued(certificate: Certificate, ca: Certificate) -> bool:
    return names_match(certificate.issuer, ca.subject) and certificate.is_signed_by(ca.public_key)


def _upper(ca: Certificate, candidates: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """The CAs above, as far as name, signature and key identifier lead.

    The key identifier is compared with the key itself, not with what the upper certificate says of
    it: for a given RSA signature a key can be made that verifies it, so the signature alone would
    let an impostor between router and CA put a root of his own above the real sub-CA.
    """
    found: list[Certificate] = []
    below = ca
    while not below.is_self_issued:
        above = next(
            (
                item
                for item in candidates
                if _issued(below, item)
                and below.authority_key_id == key_identifier(item.public_key_info)
            ),
            None,
        )
        if above is None or above in found:
            break
        found.append(above)
        below = above
    return tuple(found)


class ScepClient:
    """Builds a trustpoint's messages and reads the answers. No state but its configuration."""

    def __init__(
        self,
        config: TrustpointConfig,
        device: Device,
        rng: Rng,
        legacy: bool,
        ca_subject: str | None = None,
    ) -> None:
        self._config = config
        self._device = device
        self._rng = rng
        self._legacy = legacy
        self._ca_subject = ca_subject

    # --- HTTP -------------------------------------------------------------------------------------

    def get(self, operation: str) -> HttpRequest:
        """GetCACaps, GetCACert or GetNextCACert; IOS sends the trustpoint's name with it."""
        return HttpRequest("", "GET", self._url(operation, self._config.name))

    def pki_operation(self, octets: bytes, capabilities: Sequence[str]) -> HttpRequest:
        """By POST where the CA can, else by GET with base64 in the query."""
        if {"POSTPKIOperation", "SCEPStandard"} & set(capabilities):
            url = self._url("PKIOperation", None)
            return HttpRequest("", "POST", url, octets, scep.PKI_MESSAGE_TYPE)
        message = base64.b64encode(octets).decode()
        return HttpRequest("", "GET", self._url("PKIOperation", message))

    def _url(self, operation: str, message: str | None) -> str:
        """Raises PkiError("no-url"): what `crypto pki authenticate` answers in the guide's T02."""
        url = self._config.enrollment_url
        if url is None:
            raise PkiError(
                "no-url",
                "You must specify an enrollment URL for this CA before you can authenticate it.",
            )
        base = url.rstrip("/")
        if urlsplit(base).path == "":
            base += "/cgi-bin/pkiclient.exe"
        query = f"?operation={operation}"
        return base + query + ("" if message is None else f"&message={quote(message, safe='')}")

    # --- algorithms -------------------------------------------------------------------------------

    def check_capabilities(self, capabilities: Sequence[str]) -> None:
        """The floor below which nobody talks us down (RFC 8894 section 7.5): AES and SHA-256.

        GetCACaps is not signed; whoever strips keywords must not get DES and MD5 for it.
        """
        if self._legacy or "SCEPStandard" in capabilities:
            return
        missing = [word for word in ("AES", "SHA-256") if word not in capabilities]
        if missing:
            raise PkiError(
                "downgrade",
                f"the CA does not list {' and '.join(missing)} in GetCACaps; only mode: legacy"
                " enrolls without",
            )

    def _digest(self, capabilities: Sequence[str]) -> str:
        """The configured `hash` where the CA lists it, else the best one it does."""
        able = [
            digest
            for digest, word in _DIGEST_KEYWORDS
            if word in capabilities or (word == "SHA-256" and "SCEPStandard" in capabilities)
        ]
        able += ["md5"]  # older than GetCACaps, so it has no keyword
        return self._config.hash if self._config.hash in able else able[0]

    def _cipher(self, capabilities: Sequence[str]) -> str:
        """The best the CA lists; single DES is what IOS of 2009 uses when nothing is listed."""
        if {"AES", "SCEPStandard"} & set(capabilities):
            return "aes128"
        return "des3" if "DES3" in capabilities else "des"

    # --- messages ---------------------------------------------------------------------------------

    def begin(
        self, request: bytes, key_label: str, *, renews: bool, under_next: bool = False
    ) -> PendingEnrollment:
        """What there is to remember of a request that goes out under a new transactionID.

        32 hexadecimal digits: a hash of the key, as drafts and many clients have it, would be the
        same for an enrollment and the renewal that keeps the key.
        """
        return PendingEnrollment(
            self._rng.draw("scep_transaction_id", 16).hex().upper(),
            load_request(request, legacy=self._legacy).subject,
            key_label,
            renews,
            fingerprint(request, "md5"),
            fingerprint(request, "sha1"),
            under_next,
        )

    def build_request(self, key: RSAPrivateKey, password: str | None) -> bytes:
        """PKCS #10; the same key and password give the same octets."""
        names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        if self._ca_subject is None and not self._legacy:
            address = self._config.ip_address
            names = ((self._fqdn(),), () if address is None else (address,))
        return build_request(
            subject=self._subject(),
            key=key,
            digest=self._config.hash,
            challenge=password,
            fqdns=names[0],
            addresses=names[1],
            ca=self._ca_subject is not None,
        )

    def _fqdn(self) -> str:
        return self._config.fqdn or self._device.hostname

    def _subject(self) -> bytes:
        """`subject-name`, then serial number, address and host name in one RDN, as IOS has it.

        DER. Raises PkiError("no-serial-number").
        """
        if self._ca_subject is not None:
            return parse_dn(self._ca_subject)
        device = [("hostname", self._fqdn())]
        if self._config.ip_address is not None:
            device.append(("ipaddress", self._config.ip_address))
        if self._config.serial_number:
            if not self._device.serial:
                raise PkiError("no-serial-number", "this router has no serial number to put in")
            device.append(("serialNumber", self._device.serial))
        named = self._config.subject_name
        return build_name([*(() if named is None else read_name(parse_dn(named))), device])

    def self_signed(self, key: RSAPrivateKey, now: datetime) -> Signer:
        """A certificate for one message (RFC 8894 section 2.3)."""
        start = now.replace(microsecond=0)
        der = scep.build_self_signed(
            subject=self._subject(),
            key=key,
            digest=self._config.hash,
            serial=int.from_bytes(self._rng.draw("scep_signer_serial", 8)) >> 1 | 1,
            not_before=start,
            not_after=start + _SIGNER_LIFE,
        )
        return Signer(load_certificate(der), key)

    def pkcs_req(
        self,
        pending: PendingEnrollment,
        request: bytes,
        signer: Signer,
        key: RSAPrivateKey,
        bundle: CaBundle,
        capabilities: Sequence[str],
    ) -> SentMessage:
        """PKCSReq; RenewalReq where the CA lists Renewal (else the signer says what it is)."""
        transaction = self._transaction(pending, signer, bundle, capabilities)
        nonce = self._rng.draw("scep_nonce", scep.NONCE_LENGTH)
        renewal = pending.renews and "Renewal" in capabilities
        octets = scep.build_pkcs_req(
            transaction, request, sender_nonce=nonce, rng=self._rng, renewal=renewal
        )
        return SentMessage(octets, nonce, transaction, public_key_info(key))

    def cert_poll(
        self,
        pending: PendingEnrollment,
        signer: Signer,
        key: RSAPrivateKey,
        bundle: CaBundle,
        capabilities: Sequence[str],
    ) -> SentMessage:
        """CertPoll for a request that was answered with PENDING."""
        transaction = self._transaction(pending, signer, bundle, capabilities)
        nonce = self._rng.draw("scep_nonce", scep.NONCE_LENGTH)
        octets = scep.build_cert_poll(
            transaction,
            issuer=bundle.ca.subject,
            subject=pending.subject,
            sender_nonce=nonce,
            rng=self._rng,
        )
        return SentMessage(octets, nonce, transaction, public_key_info(key))

    def get_crl(self, bundle: CaBundle, signer: Signer, capabilities: Sequence[str]) -> SentMessage:
        """GetCRL for the CRL that covers the signer's own certificate."""
        transaction = Transaction(
            ca=bundle.recipient,
            signer=signer.certificate,
            key=signer.key,
            transaction_id=self._rng.draw("scep_transaction_id", 16).hex().upper(),
            digest=self._digest(capabilities),
            cipher=self._cipher(capabilities),
        )
        nonce = self._rng.draw("scep_nonce", scep.NONCE_LENGTH)
        octets = scep.build_get_crl(
            transaction,
            issuer=bundle.ca.subject,
            serial=signer.certificate.serial,
            sender_nonce=nonce,
            rng=self._rng,
        )
        return SentMessage(octets, nonce, transaction, signer.certificate.public_key_info)

    def read_crl(self, octets: bytes, sent: SentMessage, bundle: CaBundle) -> bytes:
        """The CRL (DER, not verified) in the answer to GetCRL. Raises PkiError."""
        reply = self._read_reply(octets, sent, bundle)
        if reply.status is not PkiStatus.SUCCESS or len(reply.crls) != 1:
            raise PkiError("no-crl", f"{len(reply.crls)} CRLs in an answer to GetCRL")
        return reply.crls[0]

    def _transaction(
        self,
        pending: PendingEnrollment,
        signer: Signer,
        bundle: CaBundle,
        capabilities: Sequence[str],
    ) -> Transaction:
        return Transaction(
            ca=bundle.recipient,
            signer=signer.certificate,
            key=signer.key,
            transaction_id=pending.transaction_id,
            digest=self._digest(capabilities),
            cipher=self._cipher(capabilities),
        )

    def read_cert_rep(
        self, octets: bytes, sent: SentMessage, bundle: CaBundle, now: datetime
    ) -> bytes | None:
        """The certificate (DER) in a CertRep, None while the CA has not decided.

        Raises PkiError: "refused-by-ca" for its FAILURE, others for an answer that is not to be
        believed or a certificate that is not the one asked for.
        """
        if len(octets) > _MAX_REPLY:
            raise PkiError("malformed-cms", f"an answer of {len(octets)} octets")
        reply = self._read_reply(octets, sent, bundle)
        if reply.status is PkiStatus.PENDING:
            return None
        return self.check_certificate(reply.certificates, sent.subject_key, bundle.ca, now)

    def _read_reply(self, octets: bytes, sent: SentMessage, bundle: CaBundle) -> CertRep:
        """Raises PkiError, "refused-by-ca" for a FAILURE."""
        reply = scep.read_cert_rep(
            octets,
            sent.transaction,
            sender_nonce=sent.nonce,
            signers=bundle.signers,
            legacy=self._legacy,
        )
        if reply.status is PkiStatus.FAILURE:
            words = "no reason given" if reply.fail_info is None else _FAIL_WORDS[reply.fail_info]
            raise PkiError("refused-by-ca", f"the CA refuses: {words}")
        return reply

    def check_certificate(
        self, certificates: Sequence[bytes], subject_key: bytes, ca: Certificate, now: datetime
    ) -> bytes:
        """The one that holds our key, signed by the CA we accepted, of the rank we asked for.

        certificates: DER. subject_key: SPKI, DER. Raises PkiError for any other.
        """
        loaded = [load_certificate(der) for der in certificates]
        own = next((item for item in loaded if item.public_key_info == subject_key), None)
        if own is None:
            raise PkiError("not-our-key", "no certificate for our key came")
        if not _issued(own, ca):
            raise PkiError(
                "bad-signature",
                f"the certificate sent is not signed by {format_name(ca.subject)}",
            )
        refuse_weak("the certificate sent", legacy=self._legacy, digest=own.digest)
        if own.is_ca != (self._ca_subject is not None):
            wanted = "a CA" if self._ca_subject is not None else "a router"
            raise PkiError("wrong-rank", f"asked for {wanted} certificate, got another kind")
        if own.not_after < now:
            raise PkiError("expired", f"the certificate sent ended {own.not_after:%Y-%m-%d %H:%M}")
        return own.der
