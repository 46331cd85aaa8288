"""Every reason for which something is refused: where it stands, the rule it breaks, what mends it.

One table, so that a refusal says as much wherever it is raised: the raise site gives the name and
the two values that differ, the rest is here. Names are what counters are keyed by. What a peer's
certificate is refused for comes from the PKI under the names of its errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """payload: where the fault stands ("" where the raise site says it, "header" for the header).

    rule: who says that it is one. mend: what to do about it, for a person. config: the line of our
    configuration that has to do with it, "" where none has.
    """

    payload: str
    rule: str
    mend: str
    config: str = ""


UNKNOWN = Reason("", "this router's own limits", "nothing is known to mend it")
_PEER = "the peer's implementation is at fault, or somebody forged or damaged the message"
_ATTACK = "nothing, if it was forged or repeated; else look at the peer"
_CRL = "make the CRL reachable (its URL stands in the certificate), or publish a new one"

REASONS: Mapping[str, Reason] = {
    # --- the header (RFC 2408 section 5.2) and the payloads ------------------------------------
    "malformed": Reason("datagram", "RFC 2408 section 3", _PEER),
    "zero-initiator-cookie": Reason("header", "RFC 2408 section 2.5.3", _PEER),
    "major-version": Reason("header", "RFC 2408 section 5.2", "speak IKEv1 on both sides"),
    "exchange-type": Reason(
        "header", "RFC 2408 section 5.2", "use an exchange on the peer that is switched on here"
    ),
    "message-too-long": Reason("datagram", "this router's own limits", _ATTACK),
    "zero-responder-cookie": Reason("header", "RFC 2408 section 2.5.3", _PEER),
    "reflected": Reason("", "RFC 2409 section 5", _ATTACK),
    "message-id-reused": Reason("header", "RFC 2409 section 5.5", _ATTACK),
    "flags": Reason("header", "RFC 2408 section 5.2", _PEER),
    "message-id": Reason("header", "RFC 2408 section 3.1", _PEER),
    "undecryptable": Reason(
        "body",
        "RFC 2409 appendix B",
        "with pre-shared keys: enter the same key on both sides; else nothing, if it was forged",
        "crypto isakmp key",
    ),
    "encryption": Reason("header", "RFC 2409 section 5", _PEER),
    "payload-missing": Reason("", "RFC 2409 section 5", _PEER),
    "payload-unexpected": Reason("", "RFC 2409 section 5", _PEER),
    "payload-order": Reason("", "RFC 2409 section 5", _PEER),
    # --- fragments of IKE messages -------------------------------------------------------------
    "fragment-not-agreed": Reason(
        "FRAG",
        "the vendor ID FRAGMENTATION",
        "switch fragmentation on here, or off on the peer",
        "crypto isakmp fragmentation",
    ),
    "fragment-not-alone": Reason("FRAG", "Cisco IKE fragmentation", _PEER),
    "fragment-number": Reason("FRAG", "Cisco IKE fragmentation", _PEER),
    "fragment-last": Reason("FRAG", "Cisco IKE fragmentation", _PEER),
    "fragment-empty": Reason("FRAG", "Cisco IKE fragmentation", _PEER),
    "fragment-repeated": Reason("FRAG", "Cisco IKE fragmentation", "nothing: it is there already"),
    "fragment-conflict": Reason("FRAG", "Cisco IKE fragmentation", _ATTACK),
    "fragment-beyond-last": Reason("FRAG", "Cisco IKE fragmentation", _ATTACK),
    "fragment-budget": Reason("FRAG", "this router's own limits", _ATTACK),
    "fragment-timeout": Reason(
        "FRAG", "this router's own limits", "look for where the path loses fragments"
    ),
    "fragment-nested": Reason("FRAG", "Cisco IKE fragmentation", _PEER),
    "fragment-header": Reason("FRAG", "Cisco IKE fragmentation", _PEER),
    # --- which SA, in which state --------------------------------------------------------------
    "unknown-cookies": Reason(
        "header",
        "RFC 2408 section 2.5.3",
        "`clear crypto isakmp` on the peer, which still holds an SA that is gone here",
    ),
    "wrong-peer": Reason("header", "RFC 2408 section 2.5.3", _ATTACK),
    "changed-repeat": Reason("header", "RFC 2408 section 5.1", _ATTACK),
    "busy": Reason(
        "header", "this router's own limits", "wait until the certificate has been checked"
    ),
    "half-open-limit": Reason(
        "header", "this router's own limits", "find out who begins exchanges and ends none"
    ),
    "aggressive-answer-limit": Reason(
        "header",
        "this router's own limits",
        "see who asks in this address's name, or forbid aggressive mode",
        "crypto isakmp aggressive-mode disable",
    ),
    "ike-sa-limit": Reason(
        "header", "the limit of SAs", "raise the limit", "crypto call admission limit ike sa"
    ),
    "in-negotiation-limit": Reason(
        "header",
        "the limit of SAs in negotiation",
        "raise the limit, or find out who begins exchanges and ends none",
        "crypto call admission limit ike in-negotiation-sa",
    ),
    "quick-mode-limit": Reason(
        "header", "this router's own limits", "see why the peer ends no quick mode"
    ),
    "peer-sa-limit": Reason(
        "header",
        "this router's own limits",
        "see why the peer begins again and again, and let it say INITIAL-CONTACT",
    ),
    "ipsec-pair-limit": Reason(
        "header",
        "this router's own limits",
        "see why the peer asks for the same tunnel again and again",
    ),
    "half-open-timeout": Reason(
        "header", "this router's own limits", "see why the peer fell silent: its log, the wire"
    ),
    "phase1-incomplete": Reason("header", "RFC 2408 section 2.1", _PEER),
    "unexpected-message": Reason("header", "RFC 2409 section 5", _PEER),
    "aggressive-mode-disabled": Reason(
        "header",
        "crypto isakmp aggressive-mode disable, here the default",
        "let the peer use main mode, or allow `no crypto isakmp aggressive-mode disable`",
        "crypto isakmp aggressive-mode disable",
    ),
    "unauthenticated-informational": Reason(
        "header", "RFC 2409 section 5.7", "read what the peer says: it may name its own reason"
    ),
    "no-answer": Reason(
        "datagram",
        "RFC 2408 section 5.1",
        "see whether the peer is there (ping) and why it is silent (its log)",
        "tunnel destination",
    ),
    "dpd-sequence": Reason("N", "RFC 3706 section 6.2", _ATTACK),
    "dpd-rate": Reason("N", "this router's own limits", "let the peer ask less often"),
    "peer-dead": Reason(
        "N", "RFC 3706 section 5", "see whether the peer is there", "crypto isakmp keepalive"
    ),
    "refused-by-peer": Reason(
        "N",
        "RFC 2408 section 3.14.1",
        "make one transform set, the PFS group and the tunnel's ends the same on both sides",
        "crypto ipsec profile",
    ),
    "install-failed": Reason("SA", "the data plane", "offer what the data plane can carry"),
    # --- proposals -----------------------------------------------------------------------------
    "doi": Reason("SA", "RFC 2407 section 4.2", _PEER),
    "situation": Reason("SA", "RFC 2407 section 4.2", _PEER),
    "no-usable-policy": Reason(
        "SA",
        "RFC 2409 section 5",
        "enroll a trustpoint, or enter a pre-shared key for the peer",
        "crypto isakmp policy",
    ),
    "no-proposal-chosen": Reason(
        "SA",
        "RFC 2409 section 5",
        "make one policy (or transform set) the same on both sides",
        "crypto isakmp policy",
    ),
    "proposal-syntax": Reason("SA", "RFC 2408 section 4.2", _PEER),
    "proposal-not-offered": Reason("SA", "RFC 2408 section 4.2", _PEER),
    "attribute-not-supported": Reason(
        "SA", "RFC 2407 section 4.5", "take the attribute out of the peer's proposal"
    ),
    # --- keys and hashes -----------------------------------------------------------------------
    "bad-nonce": Reason("NONCE", "RFC 2409 section 5", _PEER),
    "bad-key-exchange": Reason("KE", "RFC 6989 section 2", _PEER),
    "no-pre-shared-key": Reason(
        "HASH", "RFC 2409 section 5.4", "enter a pre-shared key for the peer", "crypto isakmp key"
    ),
    "bad-hash": Reason(
        "HASH",
        "RFC 2409 section 5",
        "with pre-shared keys: enter the same key on both sides; else nothing, if it was forged",
        "crypto isakmp key",
    ),
    "own-key-too-short": Reason(
        "SIG",
        "RFC 2409 section 5.1",
        "make a longer key pair and enroll it, or take a shorter hash",
        "crypto key generate rsa",
    ),
    "bad-signature": Reason(
        "SIG",
        "RFC 2409 section 5.1",
        "let the peer sign with the key of its certificate: it has another one, or is an impostor",
    ),
    # --- identities ----------------------------------------------------------------------------
    "id-port": Reason("ID", "RFC 2407 section 4.6.2", _PEER),
    "id-type": Reason("ID", "RFC 2407 section 4.6.2.1", _PEER),
    "id-syntax": Reason("ID", "RFC 2407 section 4.6.2.3", _PEER),
    "id-length": Reason("ID", "RFC 2407 section 4.6.2", _PEER),
    "id-not-in-certificate": Reason(
        "ID",
        "RFC 4945 section 3.1",
        "let the peer call itself what its certificate says, or give it a certificate of that name",
        "crypto isakmp identity",
    ),
    "id-not-source-address": Reason(
        "ID",
        "RFC 4945 section 3.1.1",
        "let the peer call itself by the address that it sends from, or by its name",
        "crypto isakmp identity",
    ),
    "profile-mismatch": Reason(
        "ID",
        "the ISAKMP profile",
        "let a `match identity` of the profile fit the peer, or give the tunnel another profile",
        "match identity",
    ),
    "keyring-mismatch": Reason(
        "ID",
        "the ISAKMP profile",
        "put the peer's key into the keyring of its profile",
        "crypto keyring",
    ),
    "proxy-identity": Reason(
        "ID",
        "RFC 2409 section 5.5",
        "let both ends protect the same traffic: source and destination of the tunnel",
        "tunnel destination",
    ),
    "pfs-mismatch": Reason(
        "KE", "RFC 2409 section 5.5", "set the same PFS group, or none, on both sides", "set pfs"
    ),
    # --- certificates: ours, then the peer's (RFC 5280, RFC 4945) -------------------------------
    "no-certificate": Reason(
        "CERT", "RFC 2409 section 5.1", "enroll the trustpoint", "crypto pki enroll"
    ),
    "no-certificate-for-request": Reason(
        "CERT_REQ",
        "RFC 2408 section 3.10",
        "enroll with a CA that the peer trusts, or let the peer trust ours",
        "crypto pki trustpoint",
    ),
    "no-certificate-from-peer": Reason(
        "CERT", "RFC 4945 section 3.3", "let the peer send its certificate with its signature"
    ),
    "untrusted-issuer": Reason(
        "CERT",
        "RFC 5280 section 6.1",
        "authenticate the CA that issued the peer's certificate, if it is to be trusted",
        "crypto pki authenticate",
    ),
    "certificate-bad-signature": Reason(
        "CERT",
        "RFC 5280 section 6.1.3",
        "let the peer enroll with the CA that this router knows: one of the same name, with another"
        " key, has signed",
        "crypto pki authenticate",
    ),
    "expired": Reason(
        "CERT",
        "RFC 5280 section 6.1.3",
        "let the peer enroll anew; see that this router's clock is right",
        "clock set",
    ),
    "not-yet-valid": Reason(
        "CERT",
        "RFC 5280 section 6.1.3",
        "set this router's clock; if it is right, set the CA's and let the peer enroll anew",
        "clock set",
    ),
    "revoked": Reason(
        "CERT",
        "RFC 5280 section 6.3",
        "let the peer enroll anew: a revoked certificate stays revoked",
        "revocation-check crl",
    ),
    "not-a-ca": Reason("CERT", "RFC 5280 section 4.2.1.9", "let a CA issue the certificate"),
    "path-length": Reason(
        "CERT", "RFC 5280 section 4.2.1.9", "let a CA issue it whose path length allows that"
    ),
    "path-too-long": Reason("CERT", "this router's own limits", "shorten the hierarchy of CAs"),
    "key-usage": Reason(
        "CERT", "RFC 4945 section 5.1.3.2", "let the peer enroll for a certificate that may sign"
    ),
    "extended-key-usage": Reason(
        "CERT", "RFC 4945 section 5.1.3.12", "let the peer enroll for a certificate for IKE"
    ),
    "name-constraints": Reason(
        "CERT", "RFC 5280 section 4.2.1.10", "give the peer a name that its CA may certify"
    ),
    "unknown-critical-extension": Reason(
        "CERT", "RFC 5280 section 4.2", "let the peer enroll for one without that extension"
    ),
    "weak-algorithm": Reason(
        "CERT",
        "this lab's `mode: modern`",
        "let the CA sign with SHA-256 and the peer have 2048 bits, or say `mode: legacy`",
        "hash sha256",
    ),
    "unsupported-algorithm": Reason("CERT", "RFC 3279", "let the peer enroll with an RSA key"),
    "malformed-certificate": Reason("CERT", "RFC 5280 section 4", _PEER),
    "bad-certificate": Reason("CERT", "RFC 5280 section 4", _PEER),
    "too-many-certificates": Reason(
        "CERT", "this router's own limits", "let the peer send the certificates of its path only"
    ),
    "bad-key": Reason("CERT", "RFC 3279 section 2.3.1", "let the peer enroll with a sound key"),
    "key-too-short": Reason(
        "CERT", "this lab's `mode: modern`", "let the peer enroll with 2048 bits"
    ),
    "crl-unavailable": Reason("CERT", "RFC 5280 section 6.3", _CRL, "revocation-check crl none"),
    "crl-expired": Reason("CERT", "RFC 5280 section 6.3", _CRL, "crypto pki crl request"),
    "crl-not-yet-valid": Reason(
        "CERT", "RFC 5280 section 6.3", "set this router's clock", "clock set"
    ),
    "crl-bad-signature": Reason("CERT", "RFC 5280 section 6.3", _CRL, "crypto pki crl request"),
    "crl-untrusted-signer": Reason("CERT", "RFC 5280 section 6.3", _CRL),
    "crl-wrong-issuer": Reason("CERT", "RFC 5280 section 6.3", _CRL),
    "crl-unknown-critical-extension": Reason("CERT", "RFC 5280 section 5.2", _CRL),
    "crl-too-large": Reason(
        "CERT", "this router's own limits", "spread the certificates over more CAs"
    ),
    "crl-older": Reason("CERT", "RFC 5280 section 5.2.3", _CRL, "crypto pki crl request"),
    "bad-crl": Reason("CERT", "RFC 5280 section 5", _CRL),
    "malformed-crl": Reason("CERT", "RFC 5280 section 5", _CRL),
    # --- ESP and what is in it -----------------------------------------------------------------
    "esp-unknown-spi": Reason(
        "header",
        "RFC 4301 section 5.2",
        "`clear crypto sa` on the peer, which still sends with SAs that are gone here",
    ),
    "esp-wrong-source": Reason("header", "RFC 4301 section 5.2", _ATTACK),
    "esp-encapsulation": Reason(
        "header",
        "RFC 3948 section 3",
        "`clear crypto sa` on both sides: one of them no longer sees the NAT that the other sees",
        "crypto ipsec nat-transparency udp-encapsulation",
    ),
    "udp-encap-short": Reason("datagram", "RFC 3948 section 2", _ATTACK),
    "esp-wrong-spi": Reason("header", "RFC 4303 section 2.1", _PEER),
    "esp-short": Reason("header", "RFC 4303 section 2", _PEER),
    "esp-bad-length": Reason("body", "RFC 4303 section 2.4", _PEER),
    "esp-replay": Reason("header", "RFC 4303 section 3.4.3", _ATTACK),
    "esp-bad-icv": Reason("ICV", "RFC 4303 section 3.4.4", _ATTACK),
    "esp-bad-padding": Reason("body", "RFC 4303 section 2.4", _PEER),
    "esp-malformed-inside": Reason("body", "RFC 2784", _PEER),
    "esp-expired": Reason("header", "RFC 4301 section 4.4.2.1", "wait for the next pair of SAs"),
    "esp-sequence-wrap": Reason("header", "RFC 4303 section 3.3.3", "wait for the next SAs"),
    "esp-next-header": Reason("body", "RFC 4303 section 2.6", "protect GRE on the peer too"),
    "esp-wrong-proxy": Reason("body", "RFC 4301 section 5.2", _PEER),
    "esp-key-length": Reason("SA", "RFC 3602 section 2.3", "offer a key length that ESP has"),
    "esp-transform": Reason("SA", "RFC 2410", "offer a transform that encrypts"),
    "esp-proxy": Reason("ID", "the data plane", "protect the GRE of the tunnel on the peer too"),
    "esp-spi": Reason("SA", "RFC 4303 section 2.1", _PEER),
    "gre-version": Reason("body", "RFC 2784 section 2", _PEER),
    "gre-flags": Reason("body", "RFC 2784 section 2.3", _PEER),
    "gre-checksum": Reason("body", "RFC 2784 section 2.5", _PEER),
    "gre-wrong-key": Reason(
        "body", "RFC 2890 section 2.1", "give both tunnels the same key", "tunnel key"
    ),
    "gre-protocol": Reason("body", "RFC 2784 section 2.4", "send IPv4 through the tunnel"),
    "gre-payload": Reason("body", "RFC 2784 section 2.4", _PEER),
    "clear-gre": Reason(
        "header", "RFC 4301 section 5.2", "protect the tunnel on the peer too", "tunnel protection"
    ),
    "tunnel-not-ipv4": Reason("body", "the data plane", "send IPv4 through the tunnel"),
    "tunnel-down": Reason(
        "body", "the data plane", "take the tunnel up (`no shutdown`)", "no shutdown"
    ),
    "tunnel-recursion": Reason(
        "body",
        "the data plane",
        "give the tunnel's far end a route outside of the tunnel",
        "ip route",
    ),
    "send-failed": Reason("datagram", "the kernel", "see that there is a route to the peer"),
    "no-sa": Reason(
        "body", "RFC 4301 section 5.1", "see why IKE gives no SA", "tunnel protection ipsec profile"
    ),
}
