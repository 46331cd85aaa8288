"""What protects a private key with a password (PKCS #5, PKCS #12), looked at before it is opened.

The library would open anything, and take as many iterations as the file asks for. Here an
encryption of 2009 is refused outside `mode: legacy`, and one that would stall a router always.
"""

from __future__ import annotations

from ikelab.errors import PkiError
from ikelab.pki import der
from ikelab.pki.algorithms import read_algorithm

# Half a second or so of PBKDF2; openssl's own default is 2048, today's advice 600,000.
MAX_ITERATIONS = 1_000_000

_PBES2 = "1.2.840.113549.1.5.13"
_PBKDF2 = "1.2.840.113549.1.5.12"
_STRONG_CIPHERS = frozenset(f"2.16.840.1.101.3.4.1.{arc}" for arc in (2, 22, 42))  # AES-CBC
_STRONG_PRF = frozenset(f"1.2.840.113549.2.{arc}" for arc in (8, 9, 10, 11))  # HMAC with SHA-2
_WEAK_PRF = "1.2.840.113549.2.7"  # HMAC with SHA-1, also where none is named
_OLD = {
    "1.2.840.113549.1.12.1.1": "RC4 of 128 bits",
    "1.2.840.113549.1.12.1.2": "RC4 of 40 bits",
    "1.2.840.113549.1.12.1.3": "3DES and SHA-1",
    "1.2.840.113549.1.12.1.4": "two-key 3DES and SHA-1",
    "1.2.840.113549.1.12.1.5": "RC2 of 128 bits and SHA-1",
    "1.2.840.113549.1.12.1.6": "RC2 of 40 bits and SHA-1",
    "1.2.840.113549.1.5.3": "DES and MD5",
    "1.2.840.113549.1.5.6": "RC2 and MD5",
    "1.2.840.113549.1.5.10": "DES and SHA-1",
    "1.2.840.113549.1.5.11": "RC2 and SHA-1",
    "1.3.14.3.2.7": "DES",
    "1.2.840.113549.3.2": "RC2",
    "1.2.840.113549.3.7": "3DES",
}


def check_encryption(what: str, algorithm: der.Element, *, legacy: bool) -> None:
    """Refuse an AlgorithmIdentifier whose encryption we do not open. what: "the private key".

    Raises PkiError("weak-algorithm", "unsupported-algorithm", "malformed-der").
    """
    dotted, parameters = read_algorithm(algorithm)
    if parameters is None:
        raise PkiError("unsupported-algorithm", f"{what} is encrypted with {dotted}")
    if dotted != _PBES2:
        check_iterations(what, parameters.fields().rest()[-1].integer())
        _refuse_old(what, dotted, legacy)
        return
    fields = parameters.fields()
    derivation, derived = read_algorithm(fields.take(der.SEQUENCE))
    cipher, _ = read_algorithm(fields.take(der.SEQUENCE))
    fields.finish()
    if derivation != _PBKDF2 or derived is None:
        raise PkiError("unsupported-algorithm", f"{what} has its key from {derivation}, not PBKDF2")
    if cipher not in _STRONG_CIPHERS:
        _refuse_old(what, cipher, legacy)
    prf = _read_pbkdf2(what, derived)
    if prf == _WEAK_PRF and not legacy:
        raise _weak(what, "a key made with SHA-1")
    if prf not in _STRONG_PRF and prf != _WEAK_PRF:
        raise PkiError("unsupported-algorithm", f"{what} has its key from the function {prf}")


def check_iterations(what: str, count: int) -> None:
    """Refuse a count that nobody can have meant. Raises PkiError("unsupported-algorithm")."""
    if not 0 < count <= MAX_ITERATIONS:
        raise PkiError(
            "unsupported-algorithm",
            f"{what} wants {count} iterations for its password, at most {MAX_ITERATIONS} are done",
        )


def refuse_traditional(what: str, headers: tuple[str, ...], *, legacy: bool) -> None:
    """The encryption of RFC 1421, whose key is an MD5 of the password whatever the cipher is."""
    if not legacy and any(header.startswith("Proc-Type:") for header in headers):
        raise _weak(what, "a key made with MD5 (PEM with Proc-Type)")


def _read_pbkdf2(what: str, parameters: der.Element) -> str:
    """The pseudorandom function of PBKDF2-params (RFC 8018, appendix A.2)."""
    fields = parameters.fields()
    fields.take(der.OCTET_STRING)
    check_iterations(what, fields.take().integer())
    fields.take_if(der.INTEGER)  # keyLength
    named = fields.take_if(der.SEQUENCE)
    fields.finish()
    return _WEAK_PRF if named is None else read_algorithm(named)[0]


def _refuse_old(what: str, dotted: str, legacy: bool) -> None:
    if dotted not in _OLD:
        raise PkiError("unsupported-algorithm", f"{what} is encrypted with {dotted}")
    if not legacy:
        raise _weak(what, _OLD[dotted])


def _weak(what: str, how: str) -> PkiError:
    return PkiError(
        "weak-algorithm",
        f"{what} is encrypted with {how}; only mode: legacy takes it"
        " (make it anew with AES and SHA-256, as openssl 3 does)",
    )
