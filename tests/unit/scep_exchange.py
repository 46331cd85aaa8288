"""Both sides of one SCEP transaction: a spoke that asks, and the CA that answers."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.pki import scep
from ikelab.pki.algorithms import public_key_info
from ikelab.pki.cert_rep import UnsignedCertRep
from ikelab.pki.scep import PkiStatus
from ikelab.pki.x509 import Certificate, build_name, build_request, load_certificate
from tests.pki_samples import DAY, NOW, SampleRng, authority, rsa_key

CA = authority("root-ca")
CA_KEY = rsa_key("root-ca")
SPOKE = "spoke.example.com"
SPOKE_KEY = rsa_key(SPOKE)
SUBJECT = build_name([[("hostname", SPOKE)]])
NONCE = bytes(range(16))


def transaction(
    *,
    digest: str = "sha256",
    cipher: str = "aes128",
    key: RSAPrivateKey = SPOKE_KEY,
    ca: Certificate = CA,
) -> scep.Transaction:
    signer = scep.build_self_signed(
        subject=SUBJECT,
        key=key,
        digest=digest,
        serial=1,
        not_before=NOW,
        not_after=NOW + DAY,
    )
    identifier = scep.transaction_id_for(public_key_info(key), "md5")
    return scep.Transaction(ca, load_certificate(signer), key, identifier, digest, cipher)


def pkcs10(key: RSAPrivateKey = SPOKE_KEY, digest: str = "sha256") -> bytes:
    return build_request(subject=SUBJECT, key=key, digest=digest, challenge="secret")


def pkcs_req(ours: scep.Transaction, *, renewal: bool = False) -> bytes:
    request = pkcs10(ours.key, ours.digest)
    return scep.build_pkcs_req(ours, request, sender_nonce=NONCE, rng=SampleRng(), renewal=renewal)


def cert_rep(
    octets: bytes,
    status: PkiStatus,
    *,
    key: RSAPrivateKey = CA_KEY,
    ca: Certificate = CA,
    with_ca: bool = True,
    **more: object,
) -> bytes:
    message = scep.parse_message(octets, legacy=True)
    reply = UnsignedCertRep.to(message, status, **more)  # type: ignore[arg-type]
    return reply.sign(ca, key, SampleRng(), with_ca=with_ca)


def read(octets: bytes, ours: scep.Transaction, **more: object) -> scep.CertRep:
    arguments = {"sender_nonce": NONCE} | more
    return scep.read_cert_rep(octets, ours, **arguments)  # type: ignore[arg-type]
