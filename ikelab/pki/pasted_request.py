"""Requests that somebody pastes at the CA's console (`request pkcs10 terminal`), instead of SCEP.

They stand in the same database under the same rules; only the way in is another. There is no
transaction, so one is made up; it also says that the certificate goes back by the console, and how.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from ikelab.pki import pem
from ikelab.pki.issuer import Issuer, kind_of
from ikelab.pki.store import (
    CaStore,
    EnrollmentRequest,
    NewRequest,
    RequestKey,
    RequestKind,
    RequestState,
)
from ikelab.pki.x509 import load_request
from ikelab.types import Rng

# A transactionID of SCEP has no line feed in it, so nobody from outside gets these.
_PASTED = "\npasted "


def queue_pasted(
    issuer: Issuer, request: bytes, form: str, rng: Rng, now: datetime
) -> EnrollmentRequest:
    """Put a PKCS #10 (DER) into the database, or find it waiting there.

    form: "pem" or "base64", how the certificate is to be printed. After an answer the same octets
    are a new request: a router that keeps name and key pastes them again to renew. Raises PkiError.
    """
    loaded = load_request(request, legacy=issuer.legacy)
    issuer.check(loaded)
    waiting = _waiting(issuer.store, request)
    if waiting is not None:
        return waiting
    key = RequestKey(
        generation=issuer.authority.generation,
        transaction_id=_PASTED + form + " " + rng.draw("pasted_request", 8).hex(),
        request_digest=hashlib.sha256(request).digest(),
        signer_key=hashlib.sha256(loaded.public_key_info).digest(),
    )
    kind = kind_of(loaded)
    new = NewRequest(
        key=key,
        kind=kind,
        request=request,
        subject=loaded.subject,
        received=now.replace(microsecond=0),
        automatic=issuer.config.grant == "auto" and kind is not RequestKind.RA,
    )
    added = issuer.store.add_request(new)
    assert added is not None, "no one-time password is spent"
    return added


def printed_certificate(request: EnrollmentRequest) -> str | None:
    """The certificate of a granted request as the console prints it, None for one from SCEP."""
    if request.certificate is None or not request.key.transaction_id.startswith(_PASTED):
        return None
    if request.key.transaction_id.startswith(_PASTED + "pem"):
        return pem.to_pem(pem.CERTIFICATE, request.certificate)
    return pem.to_base64(request.certificate)


def _waiting(store: CaStore, request: bytes) -> EnrollmentRequest | None:
    return next(
        (
            row
            for row in store.requests()
            if row.state is RequestState.PENDING and row.request == request
        ),
        None,
    )
