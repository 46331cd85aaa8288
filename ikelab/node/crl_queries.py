"""CRLs asked for by SCEP (GetCRL, RFC 8894 section 3.3.4), where a certificate names none.

The cache asks for such a CRL at an address of its own kind, `scep:TRUSTPOINT`, which no certificate
can bring in: those are HTTP or not fetched. Here it becomes a message to the trustpoint's CA,
signed by the router's own certificate, and what comes back becomes the CRL again. Sans-IO.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from ikelab.errors import PkiError
from ikelab.node.askers import Asker
from ikelab.pki.events import HttpFailed, HttpReply, HttpRequest
from ikelab.pki.revocation import BY_SCEP
from ikelab.pki.scep_client import SentMessage
from ikelab.pki.trustpoint import Trustpoint
from ikelab.pki.x509 import Certificate, load_certificate

_WRAPPING = 16384  # octets of a CertRep around its CRL, at most


def named_crls(point: Trustpoint) -> list[tuple[str, bytes]]:
    """Where the CRL of a router's own certificate is, and its issuer (DER); with `chain-validation
    continue` also those of the CAs above it. Raises PkiError("not-enrolled").
    """
    credential = point.credential
    if credential is None:
        raise PkiError("not-enrolled", f"trustpoint {point.config.name} has no router certificate")
    urls = _usable(load_certificate(credential.certificate))
    found = [((urls or [BY_SCEP + point.config.name])[0], credential.chain[0])]
    if point.config.chain_validation == "continue":
        for ca, issuer in pairwise(credential.chain):
            found += [(url, issuer) for url in _usable(load_certificate(ca))[:1]]
    return found


def _usable(certificate: Certificate) -> list[str]:
    return [url for url in certificate.crl_urls if not url.startswith(BY_SCEP)]


class CrlQueries:
    """GetCRL messages under way. asker_of: a trustpoint by name, None where it is not enrolled."""

    def __init__(self, asker_of: Callable[[str], Asker | None]) -> None:
        self._asker_of = asker_of
        self._sent: dict[str, tuple[Asker, SentMessage]] = {}

    def begin(self, request: HttpRequest) -> HttpRequest | HttpFailed:
        """What to send in place of a request of the cache; others pass as they are."""
        if not request.url.startswith(BY_SCEP):
            return request
        name = request.url.removeprefix(BY_SCEP)
        asker = self._asker_of(name)
        if asker is None:
            return HttpFailed(request.handle, f"trustpoint {name} has no certificate to ask with")
        sent = asker.client.get_crl(asker.bundle, asker.signer, asker.capabilities)
        self._sent[request.handle] = asker, sent
        return replace(
            asker.client.pki_operation(sent.octets, asker.capabilities),
            handle=request.handle,
            limit=request.limit + _WRAPPING,
            seconds=request.seconds,
        )

    def answered(self, event: HttpReply | HttpFailed) -> HttpReply | HttpFailed:
        """The cache's answer: the CRL, or why there is none."""
        asked = self._sent.pop(event.handle, None)
        if asked is None or isinstance(event, HttpFailed) or event.status != 200:
            return event
        asker, sent = asked
        try:
            crl = asker.client.read_crl(event.body, sent, asker.bundle)
        except PkiError as error:
            return HttpFailed(event.handle, f"GetCRL: {error}")
        return HttpReply(event.handle, 200, "application/pkix-crl", crl)
