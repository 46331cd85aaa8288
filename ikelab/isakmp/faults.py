"""Refusals of whole datagrams: what is wrong before any payload is looked at, as ProtocolErrors."""

from __future__ import annotations

from ikelab.errors import ProtocolError, WireError
from ikelab.isakmp.events import DatagramReceived, PeerCertRefused
from ikelab.isakmp.sa import IsakmpSa
from ikelab.isakmp.state import State
from ikelab.wire.isakmp import Header


def malformed(error: WireError) -> ProtocolError:
    """Octets that are no message."""
    return ProtocolError(
        "malformed",
        str(error),
        payload=error.field,
        seen=f"{error.reason} at octet {error.offset}",
        wanted="a well-formed message",
    )


def unknown_cookies(header: Header) -> ProtocolError:
    """A message of an SA that is not here."""
    return ProtocolError(
        "unknown-cookies",
        "no SA has this pair of cookies",
        seen=f"{header.cky_i.hex()} {header.cky_r.hex()}",
        wanted="the cookies of an SA that is here",
    )


def wrong_peer(event: DatagramReceived, sa: IsakmpSa) -> ProtocolError:
    """The cookies of one peer from another."""
    return ProtocolError(
        "wrong-peer",
        f"these cookies belong to {sa.remote}",
        seen=event.remote,
        wanted=sa.remote,
    )


def changed_repeat() -> ProtocolError:
    """A second message 1 under one cookie."""
    return ProtocolError(
        "changed-repeat",
        "a second, different message 1 of this cookie",
        seen="other octets",
        wanted="a new initiator cookie, or the same octets",
    )


def busy() -> ProtocolError:
    """Something for an SA that waits for the PKI."""
    return ProtocolError(
        "busy",
        "the peer's certificate is being checked",
        seen="another message",
        wanted="patience until the check is through",
    )


def unauthenticated(said: str) -> ProtocolError:
    """An informational message in clear."""
    return ProtocolError(
        "unauthenticated-informational",
        f"the peer says in clear: {said}",
        seen=said,
        wanted="an encrypted message with a HASH",
    )


def phase1_incomplete(sa: IsakmpSa) -> ProtocolError:
    """A phase 2 message before phase 1 has ended."""
    return ProtocolError(
        "phase1-incomplete",
        f"{sa.state.value} is before phase 1's end",
        seen=sa.state.value,
        wanted=State.IKE_P1_COMPLETE.value,
    )


def aggressive_mode_disabled() -> ProtocolError:
    """Aggressive mode where the configuration does not allow it."""
    return ProtocolError(
        "aggressive-mode-disabled",
        "the peer begins aggressive mode, which is off here",
        seen="aggressive mode",
        wanted="main mode",
        config="crypto isakmp aggressive-mode disable",
    )


def cert_refused(event: PeerCertRefused) -> ProtocolError:
    """The PKI's verdict on what the peer presented."""
    detail = event.detail or event.reason
    # A CA's signature below a certificate is not the SIG of messages 5 and 6.
    forged = event.reason == "bad-signature"
    reason = "certificate-bad-signature" if forged else event.reason
    return ProtocolError(reason, detail, seen=detail, wanted="a certificate path that holds")


def install_failed(reason: str) -> ProtocolError:
    """The data plane does not take a pair of SAs."""
    return ProtocolError(
        "install-failed",
        reason,
        seen=reason,
        wanted="a pair of SAs that the data plane can carry",
    )
