"""The state table of a trustpoint: which step an input takes where, and where it leads.

The words are RFC 8894's; IOS prints none of them. The steps are methods of `trustpoint.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class State(Enum):
    """Where a trustpoint is."""

    READY = "no CA certificate"
    CAPS_SENT = "GetCACaps sent"
    CA_SENT = "GetCACert sent"
    CA_OFFERED = "waits for acceptance of the CA certificate"
    CA_AUTHENTICATED = "CA certificate accepted"
    REQUEST_SENT = "request sent"
    REQUEST_RETRY = "waits to send the request again"
    PENDING = "waits to poll"
    POLL_SENT = "poll sent"
    NEXT_CA_SENT = "GetNextCACert sent"
    CA_AGAIN_SENT = "GetCACert sent again"
    REQUEST_PRINTED = "waits for the certificate to be pasted"
    ENROLLED = "enrolled"
    FAILED = "enrollment failed"


class Input(Enum):
    """What can happen to it: commands, time, and what the CA's answers amount to."""

    AUTHENTICATE = "authenticate"
    ACCEPT = "yes"
    DECLINE = "no"
    ENROLL = "enroll"
    TIMER = "timer"
    NO_REPLY = "no reply"
    CAPABILITIES = "capabilities that suffice"
    CA_KNOWN = "CA certificate with the configured fingerprint"
    CA_UNKNOWN = "CA certificate somebody must look at"
    CA_UNFIT = "CA certificate or capabilities that cannot be taken"
    ASK_NEXT = "time to ask for the next CA certificate"
    NEXT_CA = "next CA certificate, signed by the present one"
    CA_RENEWED = "new certificate of the same CA key"
    SWAP = "another generation's time"
    SETTLED = "nothing due any more"
    SWAP_CA = "another CA certificate's time, without one of ours below it"
    GRANTED = "granted"
    PENDING = "pending"
    REFUSED = "refused"


_S = State
_I = Input

# (state, input) -> (step, next state). From one generation of the CA to the next (`succession.py`).
SUCCESSION: Mapping[tuple[State, Input], tuple[str, State]] = {
    (_S.ENROLLED, _I.ASK_NEXT): ("ask_next_ca", _S.NEXT_CA_SENT),
    (_S.FAILED, _I.ASK_NEXT): ("ask_next_ca", _S.NEXT_CA_SENT),
    (_S.NEXT_CA_SENT, _I.NEXT_CA): ("hold_next_ca", _S.ENROLLED),
    (_S.NEXT_CA_SENT, _I.NO_REPLY): ("ask_ca_again", _S.CA_AGAIN_SENT),
    (_S.NEXT_CA_SENT, _I.REFUSED): ("ask_ca_again", _S.CA_AGAIN_SENT),
    (_S.CA_AGAIN_SENT, _I.CA_RENEWED): ("renew_ca", _S.ENROLLED),
    (_S.CA_AGAIN_SENT, _I.NO_REPLY): ("look_later", _S.ENROLLED),
    (_S.CA_AGAIN_SENT, _I.REFUSED): ("look_later", _S.ENROLLED),
    (_S.FAILED, _I.SETTLED): ("rest", _S.ENROLLED),
    (_S.ENROLLED, _I.SWAP): ("swap", _S.ENROLLED),
    (_S.PENDING, _I.SWAP): ("swap", _S.PENDING),
    (_S.REQUEST_RETRY, _I.SWAP): ("swap", _S.REQUEST_RETRY),
    (_S.FAILED, _I.SWAP): ("swap", _S.ENROLLED),
    (_S.CA_AUTHENTICATED, _I.SWAP): ("swap", _S.ENROLLED),
    (_S.ENROLLED, _I.SWAP_CA): ("swap", _S.CA_AUTHENTICATED),
    (_S.PENDING, _I.SWAP_CA): ("swap", _S.PENDING),
    (_S.REQUEST_RETRY, _I.SWAP_CA): ("swap", _S.REQUEST_RETRY),
    (_S.FAILED, _I.SWAP_CA): ("swap", _S.CA_AUTHENTICATED),
    (_S.FAILED, _I.AUTHENTICATE): ("begin_anew", _S.CAPS_SENT),
}

# The whole: enrollment, and succession.
TABLE: Mapping[tuple[State, Input], tuple[str, State]] = {
    **SUCCESSION,
    (_S.READY, _I.AUTHENTICATE): ("ask_capabilities", _S.CAPS_SENT),
    (_S.READY, _I.TIMER): ("ask_capabilities", _S.CAPS_SENT),
    (_S.CAPS_SENT, _I.CAPABILITIES): ("ask_ca", _S.CA_SENT),
    (_S.CAPS_SENT, _I.CA_UNFIT): ("give_up_ca", _S.READY),
    (_S.CAPS_SENT, _I.NO_REPLY): ("give_up_ca", _S.READY),
    (_S.CA_SENT, _I.CA_KNOWN): ("hold_ca", _S.CA_AUTHENTICATED),
    (_S.CA_SENT, _I.CA_UNKNOWN): ("offer_ca", _S.CA_OFFERED),
    (_S.CA_SENT, _I.CA_UNFIT): ("give_up_ca", _S.READY),
    (_S.CA_SENT, _I.NO_REPLY): ("give_up_ca", _S.READY),
    (_S.CA_OFFERED, _I.ACCEPT): ("hold_ca", _S.CA_AUTHENTICATED),
    (_S.CA_OFFERED, _I.DECLINE): ("drop_ca", _S.READY),
    (_S.CA_AUTHENTICATED, _I.ENROLL): ("enroll", _S.REQUEST_SENT),
    (_S.CA_AUTHENTICATED, _I.TIMER): ("enroll", _S.REQUEST_SENT),
    (_S.REQUEST_SENT, _I.GRANTED): ("install", _S.ENROLLED),
    (_S.REQUEST_SENT, _I.PENDING): ("wait", _S.PENDING),
    (_S.REQUEST_SENT, _I.REFUSED): ("give_up", _S.FAILED),
    (_S.REQUEST_SENT, _I.NO_REPLY): ("wait", _S.REQUEST_RETRY),
    (_S.REQUEST_RETRY, _I.TIMER): ("send_again", _S.REQUEST_SENT),
    (_S.REQUEST_RETRY, _I.ENROLL): ("enroll", _S.REQUEST_SENT),
    (_S.PENDING, _I.TIMER): ("poll", _S.POLL_SENT),
    (_S.PENDING, _I.ENROLL): ("enroll_again", _S.REQUEST_SENT),
    (_S.POLL_SENT, _I.GRANTED): ("install", _S.ENROLLED),
    (_S.POLL_SENT, _I.PENDING): ("wait", _S.PENDING),
    (_S.POLL_SENT, _I.REFUSED): ("give_up", _S.FAILED),
    (_S.POLL_SENT, _I.NO_REPLY): ("wait", _S.PENDING),
    (_S.ENROLLED, _I.ENROLL): ("enroll", _S.REQUEST_SENT),
    (_S.ENROLLED, _I.TIMER): ("renew", _S.REQUEST_SENT),
    (_S.FAILED, _I.ENROLL): ("enroll", _S.REQUEST_SENT),
    (_S.FAILED, _I.TIMER): ("renew", _S.REQUEST_SENT),
}

# `enrollment terminal`: the same steps, with people where the network was.
MANUAL_TABLE: Mapping[tuple[State, Input], tuple[str, State]] = {
    (_S.READY, _I.CA_KNOWN): ("hold_ca", _S.CA_AUTHENTICATED),
    (_S.READY, _I.CA_UNKNOWN): ("offer_ca", _S.CA_OFFERED),
    (_S.CA_OFFERED, _I.CA_KNOWN): ("hold_ca", _S.CA_AUTHENTICATED),
    (_S.CA_OFFERED, _I.CA_UNKNOWN): ("offer_ca", _S.CA_OFFERED),
    (_S.CA_OFFERED, _I.ACCEPT): ("hold_ca", _S.CA_AUTHENTICATED),
    (_S.CA_OFFERED, _I.DECLINE): ("drop_ca", _S.READY),
    (_S.CA_AUTHENTICATED, _I.ENROLL): ("enroll", _S.REQUEST_PRINTED),
    (_S.REQUEST_PRINTED, _I.ENROLL): ("enroll", _S.REQUEST_PRINTED),
    (_S.REQUEST_PRINTED, _I.GRANTED): ("install", _S.ENROLLED),
    (_S.ENROLLED, _I.ENROLL): ("enroll", _S.REQUEST_PRINTED),
}
