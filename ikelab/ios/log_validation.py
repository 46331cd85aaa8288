"""`debug crypto pki`: how a peer's certificate is validated, in the words of the guide's listing.

The guide, "Certificate Is Revoked or Expired", has it with all four debuggings on; which line
belongs to which is not told there: the trustpoint's references are printed by `transactions`, the
work of the crypto engine (P11) by `callbacks`, the path by `validation`. Addresses of IOS's memory
are numbers of ours: how many public keys were used, and the number of the check.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ikelab.errors import PkiError
from ikelab.ios.debugging import PKI_CALLBACKS, PKI_TRANSACTIONS, PKI_VALIDATION
from ikelab.ios.log_line import LogLine
from ikelab.ios.text import serial_number, visible
from ikelab.isakmp.events import Trace
from ikelab.pki.events import PathExamined
from ikelab.pki.name import names_match
from ikelab.pki.x509 import Certificate, fingerprint, format_name, load_certificate

_KINDS = frozenset({PKI_CALLBACKS, PKI_TRANSACTIONS, PKI_VALIDATION})
# What is found out before the CRL is looked at; a path with one of these is not verified.
_UNVERIFIED = frozenset(
    "bad-signature untrusted-issuer expired not-yet-valid not-a-ca path-length path-too-long"
    " key-usage extended-key-usage name-constraints unknown-critical-extension weak-algorithm"
    " unsupported-algorithm malformed-certificate bad-certificate too-many-certificates"
    " no-certificate bad-key key-too-short".split()
)


@dataclass(slots=True)
class ValidationLog:
    """Lines of single facts. _locks: trustpoint -> peers for which it is in use."""

    _locks: dict[str, set[str]] = field(default_factory=dict)
    _keys_used: int = 0

    def lines(self, fact: object, debugging: Collection[str]) -> Iterator[LogLine]:
        """The lines of what is switched on; nothing is made of a fact where none is."""
        match fact:
            case Trace(name="peer-wants-cert" | "peer-certificate" | "sa-removed"):
                made = self._trace(fact, dict(fact.values))
            case PathExamined():
                made = self._path(fact) if not _KINDS.isdisjoint(debugging) else iter(())
            case _:
                return
        yield from (line for line in made if line.debug in debugging)

    def _trace(self, fact: Trace, values: dict[str, str]) -> Iterator[LogLine]:
        peer = fact.peer.address
        if fact.name == "peer-certificate":
            yield _validation("Adding peer certificate")
            size = len(values.get("der", "")) // 2
            yield _validation(f"Added x509 peer certificate - ({size}) bytes")
            yield from _by_subject()
        elif fact.name == "sa-removed":
            for trustpoint in [name for name, peers in self._locks.items() if peer in peers]:
                self._locks[trustpoint].discard(peer)
                yield self._refcount("unlocked", trustpoint)
        elif values.get("trustpoint"):
            yield from self._picked(visible(values["trustpoint"]), peer)

    def _picked(self, trustpoint: str, peer: str) -> Iterator[LogLine]:
        """A trustpoint of ours is chosen for a peer; one reference is the configuration's."""
        peers = self._locks.setdefault(trustpoint, set())
        yield _transaction(f"Trust-Point {trustpoint} picked up")
        for line in (*_by_subject(), *_by_subject(found=False)):
            yield LogLine(line.text, PKI_TRANSACTIONS)
        peers.discard(peer)
        yield self._refcount("unlocked", trustpoint)
        peers.add(peer)
        yield self._refcount("locked", trustpoint)

    def _refcount(self, what: str, trustpoint: str) -> LogLine:
        count = 1 + len(self._locks[trustpoint])
        return _transaction(f"{what} trustpoint {trustpoint}, refcount is {count}")

    # --- the path -----------------------------------------------------------------------------

    def _path(self, fact: PathExamined) -> Iterator[LogLine]:
        try:
            leaf = load_certificate(fact.leaf)
        except PkiError:
            yield _validation("Certificate validation failed")
            return
        yield from _lookup(leaf, fact)
        suitable = [
            (name, authority, asks)
            for name, der, asks in fact.trusts
            if names_match((authority := load_certificate(der)).subject, leaf.issuer)
        ]
        if suitable:
            yield _validation("crypto_pki_get_cert_record_by_issuer()")
            yield _validation("Found a issuer match")
            names = "".join(f"{name}," for name, _, _ in suitable)
            yield _validation(f"Suitable trustpoints are: {names}")
            yield from self._validate(leaf, fact.reason, *suitable[0])
        if fact.reason:
            yield _validation("Certificate validation failed")

    def _validate(
        self, leaf: Certificate, reason: str, trustpoint: str, authority: Certificate, asks: bool
    ) -> Iterator[LogLine]:
        yield _validation(f"Attempting to validate certificate using {trustpoint}")
        yield _validation(f"Using {trustpoint} to validate certificate")
        yield LogLine("CRYPTO_PKI(make trusted certs chain)", PKI_VALIDATION)
        yield from self._verified_with(authority)
        if reason in _UNVERIFIED:
            return
        yield _validation("Certificate is verified")
        if not asks:
            return
        yield _validation("Checking certificate revocation")
        yield _validation("Starting CRL revocation")
        if reason == "crl-unavailable":
            return
        yield _validation(f"Select crl({format_name(leaf.issuer)})")
        yield from self._verified_with(authority)
        if reason == "revoked":
            where = "../crypto/ca/provider/revoke/crl/crlstat.c(205)"
            text = f"{where} : E_NOT_VALIDATED : validation process failed (reason: 1)"
            yield LogLine(text, PKI_VALIDATION)
            yield _validation("Certificate revoked")

    def _verified_with(self, authority: Certificate) -> Iterator[LogLine]:
        """The crypto engine opens a signature with a CA's key."""
        key = load_der_public_key(authority.public_key_info)
        if not isinstance(key, RSAPublicKey):
            return
        self._keys_used += 1
        number, numbers = self._keys_used, key.public_numbers()
        modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
        exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")
        for text in (
            "P11:C_CreateObject:",
            "        CKA_CLASS: PUBLIC KEY",
            "        CKA_KEY_TYPE: RSA",
            f"        CKA_MODULUS:\n{_dump(modulus)}",
            f"        CKA_PUBLIC_EXPONENT:  {exponent.hex(' ').upper()}",
            "        CKA_VERIFY_RECOVER:  01",
            f"P11:C_CreateObject: {number}",
            "P11:C_GetMechanismInfo slot 1 type 3 (invalid mechanism)",
            "P11:C_GetMechanismInfo slot 1 type 1",
            f"P11:C_VerifyRecoverInit - {number}",
            f"P11:C_VerifyRecover - {number}",
            f"P11:found pubkey in cache using index = {number}",
            f"P11:public key found is :\n{_dump(authority.public_key_info)}",
            "P11:CEAL:CRYPTO_NO_ERR",
            f"P11:C_DestroyObject {number:X}:{number:X}",
        ):
            yield LogLine(text, PKI_CALLBACKS)


def _lookup(leaf: Certificate, fact: PathExamined) -> Iterator[LogLine]:
    """IOS looks whether it holds this very certificate; a peer's it never does."""
    digest = bytes.fromhex(fingerprint(leaf.der, "md5")).hex(" ").upper()
    issuer, serial = format_name(leaf.issuer), serial_number(leaf.serial)
    yield _validation(f"validation path has {fact.count} certs")
    yield _validation("Check for identical certs")
    text = f'CRYPTO_PKI(Cert Lookup) issuer="{issuer}" serial number= {serial}'
    yield LogLine(text, PKI_VALIDATION)
    yield _validation(f"looking for cert in handle={fact.handle:X}, digest=\n{digest}")
    yield _validation("Cert record not found, returning E_NOT_FOUND")
    yield _validation("Create a list of suitable trustpoints")


def _by_subject(*, found: bool = True) -> Iterator[LogLine]:
    yield _validation("crypto_pki_get_cert_record_by_subject()")
    if found:
        yield _validation("Found a subject match")


def _dump(octets: bytes) -> str:
    """Sixteen octets a line."""
    rows = (octets[start : start + 16].hex(" ").upper() for start in range(0, len(octets), 16))
    return "\n".join(f"    {row}" for row in rows)


def _validation(text: str) -> LogLine:
    return LogLine(f"CRYPTO_PKI: {text}", PKI_VALIDATION)


def _transaction(text: str) -> LogLine:
    return LogLine(f"CRYPTO_PKI: {text}", PKI_TRANSACTIONS)
