"""The debug lines of the IKE engine, in the words of `debug crypto isakmp`.

Texts are the guide's (12.4 images) or those of public traces; what IOS has no line for is ours and
marked IKELAB. The engine reports facts, not lines: what a line needs besides (conn-id, role, the
state shown) is remembered here from the actions before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from ikelab.errors import PkiError
from ikelab.ios.log_line import LogLine, own
from ikelab.ios.text import visible
from ikelab.isakmp.events import (
    InstallIpsecSa,
    PlainMessage,
    Refused,
    SendDatagram,
    Trace,
    Transition,
)
from ikelab.pki.name import format_name
from ikelab.types import Endpoint
from ikelab.wire import vendor_id
from ikelab.wire.numbers import IdType

DEBUG = "crypto isakmp"
REMEMBERED_PEERS = 4096  # several times the spokes of one hub
K = TypeVar("K")
V = TypeVar("V")
Dialect = Literal["12.4", "15"]
"""12.4 prints no IKE_QM_IPSEC_INSTALL_AWAIT: two rows of the table are one in its log."""

_AWAIT = "IKE_QM_IPSEC_INSTALL_AWAIT"
# "R1 (I) sends MM5 -> IKE_I_MM5: ID CERT SIG (attempt 2 of 5)", "R1 (R) in IKE_R_MM1 takes MM1: SA"
_COMMENT = re.compile(r"\((?P<role>[IR])\) (?:sends|in \S+ takes) (?P<message>\w+)")
_ATTEMPT = re.compile(r"\(attempt (?P<number>\d+) of (?P<budget>\d+)\)$")
# The state IOS shows when it sends or takes a message; quick mode and the rest: QM_IDLE.
_SENT_IN = {
    **{"MM1": "MM_NO_STATE", "MM2": "MM_SA_SETUP", "MM3": "MM_SA_SETUP"},
    **{"MM4": "MM_KEY_EXCH", "MM5": "MM_KEY_EXCH", "MM6": "MM_KEY_EXCH"},
    **{"AM1": "AG_INIT_EXCH", "AM2": "AG_INIT_EXCH", "AM3": "AG_INIT_EXCH"},
}
_TAKEN_IN = {
    **{"MM2": "MM_NO_STATE", "MM3": "MM_SA_SETUP", "MM4": "MM_SA_SETUP"},
    **{"MM5": "MM_KEY_EXCH", "MM6": "MM_KEY_EXCH"},
    **{"AM2": "AG_INIT_EXCH", "AM3": "AG_INIT_EXCH"},
}
_OPENING = ("MM1", "AM1")
# States of aggressive mode that IOS has no name for: rows that lead through them print as one.
_OURS = "AGGRESSIVE_"
_NAMED = {"SA": "SA", "KE": "KE", "NONCE": "NONCE", "ID": "ID", "CERT": "CERT", "SIG": "SIG"}
_NAMED |= {"HASH": "HASH", "D": "DELETE", "N": "NOTIFY"}
_NEXT_PAYLOAD = {"CERT": 6, "HASH": 8, "SIG": 9, "N": 11}
_VENDORS = {
    "NAT-T RFC 3947": (vendor_id.NAT_T_RFC_3947, "NAT-T RFC 3947"),
    "NAT-T draft-07": (vendor_id.NAT_T_DRAFT_07, "NAT-T v7"),
    "NAT-T draft-03": (vendor_id.NAT_T_DRAFT_03, "NAT-T v3"),
    "NAT-T draft-02": (vendor_id.NAT_T_DRAFT_02, "NAT-T v2"),
    "DPD": (b"", "DPD"),
    "Cisco Unity": (b"", "Unity"),
}
# Trace name -> IOS's lines for it. {c}: conn-id, {peer}: address, others: the trace's values.
_TRACES: Mapping[str, tuple[str, ...]] = {
    "aggressive-mode-not-started": (
        "ISAKMP:({c}):Can not start Aggressive mode, trying Main mode.",
    ),
    "beginning-aggressive-mode": ("ISAKMP:({c}): beginning Aggressive Mode exchange",),
    "beginning-main-mode": ("ISAKMP:({c}): beginning Main Mode exchange",),
    "policy-refused": (
        "ISAKMP:({c}):Checking ISAKMP transform {transform} against priority {priority} policy",
        "ISAKMP:({c}):{text}",
        "ISAKMP:({c}):atts are not acceptable.",
    ),
    "atts-acceptable": (
        "ISAKMP:({c}):atts are acceptable.",
        "ISAKMP:({c}):Returning Actual lifetime: {lifetime}",
        "ISAKMP:({c})::Started lifetime timer: {lifetime}.",
    ),
    "constructed-nat-t": ("ISAKMP:({c}): constructed NAT-T vendor-{variant} ID",),
    # One NAT-D payload each: what is known of both ends after it.
    "no-nat-found": (
        "ISAKMP:received payload type {payload}",
        "ISAKMP ({c}): No NAT Found for self or peer",
    ),
    "peer-hash-no-match": (
        "ISAKMP:received payload type {payload}",
        "ISAKMP ({c}): His hash no match - this node outside NAT",
    ),
    "own-hash-no-match": (
        "ISAKMP:received payload type {payload}",
        "ISAKMP ({c}): My hash no match - this node inside NAT",
    ),
    "both-inside-nat": (
        "ISAKMP:received payload type {payload}",
        "ISAKMP ({c}): NAT found, both nodes inside NAT",
    ),
    "using-trustpoint": ("ISAKMP:({c}): using the {trustpoint} trustpoint's keypair to sign",),
    "address-not-in-cert": (
        "ISAKMP:({c}):My ID configured as IPv4 Addr, but Addr not in Cert!",
        "ISAKMP:({c}):Using {using} as My ID",
    ),
    "fqdn-not-in-cert": (
        "ISAKMP:({c}):My ID configured as FQDN, but FQDN not in Cert!",
        "ISAKMP:({c}):Using {using} as My ID",
    ),
    "sa-request-profile": ("ISAKMP:({c}): SA request profile is {profile}",),
    "send-initial-contact": ("ISAKMP:({c}):Send initial contact",),
    "ipsec-atts-acceptable": ("ISAKMP:({c}):atts are acceptable.",),
    "creating-ipsec-sas": ("ISAKMP:({c}): Creating IPSec SAs",),
}
# Reasons of a refused certificate chain; "bad-signature" is also that of a wrong SIG.
_CERTIFICATE_REASONS = frozenset(
    "untrusted-issuer expired not-yet-valid revoked not-a-ca path-length key-usage"
    " unknown-critical-extension weak-algorithm malformed-certificate".split()
)
_MALFORMED_REASONS = frozenset(
    "malformed undecryptable payload-missing payload-unexpected payload-order".split()
)
_VALIDITY = {"not-yet-valid": "NOT_YET_VALID", "expired": "EXPIRED"}


@dataclass(slots=True)
class IsakmpLog:
    """Turns actions into lines, and remembers a few words of each of the last peers."""

    dialect: Dialect = "12.4"
    _conn_ids: dict[Endpoint, int] = field(default_factory=dict)
    _roles: dict[Endpoint, str] = field(default_factory=dict)
    _signing: dict[Endpoint, bool] = field(default_factory=dict)
    _installing: dict[tuple[Endpoint, int], Transition] = field(default_factory=dict)
    _entered: dict[Endpoint, Transition] = field(default_factory=dict)
    _taken: PlainMessage | None = None
    _names: tuple[str, ...] = ()
    _held: list[str] = field(default_factory=list)

    def lines(self, action: object) -> Iterator[LogLine]:
        """The lines of one action; none for those that IOS says nothing about."""
        if not (isinstance(action, Trace) and action.name == "peer-id"):
            yield from _debug(self._released())
        match action:
            case PlainMessage(sent=False):
                yield from _debug(self._receive(action))
            case SendDatagram():
                yield from _debug(self._send(action))
            case Transition():
                _remember(self._conn_ids, action.peer, action.conn_id)
                yield from _debug(self._transition(action))
                yield from _debug(self._payloads_after(action))
                if action.new_state == "IKE_DEST_SA":
                    self._forget(action.peer)
            case Trace():
                _remember(self._conn_ids, action.peer, action.conn_id)
                yield from self._trace(action)
            case InstallIpsecSa():
                yield from _debug(_pair(action))
            case Refused():
                self._taken = None
                yield from _refused(action)
            case _:
                return

    def messages(self, action: object) -> Iterator[LogLine]:
        """The lines that come without `debug crypto isakmp`; what later ones need is remembered."""
        match action:
            case Transition() | Trace():
                _remember(self._conn_ids, action.peer, action.conn_id)
            case Refused():
                yield from (line for line in _refused(action) if not line.debug)

    def _forget(self, peer: Endpoint) -> None:
        self._conn_ids.pop(peer, None)
        self._roles.pop(peer, None)
        self._signing.pop(peer, None)

    # --- datagrams ----------------------------------------------------------------------------

    def _receive(self, action: PlainMessage) -> Iterator[str]:
        message = self._message_of(action.comment, action.remote)
        conn_id = self._conn_ids.get(action.remote, 0) if message not in _OPENING else 0
        shown = self._shown(_TAKEN_IN, message, action.remote, conn_id)
        ends = f"dport {action.local.port} sport {action.remote.port} Global"
        yield f"ISAKMP (0:{conn_id}): received packet from {action.remote.address} {ends}{shown}"
        self._names = action.payloads
        if message.startswith(("MM", "AM")):
            self._taken = action
        else:
            yield from _payloads(action, conn_id)

    def _send(self, action: SendDatagram) -> Iterator[str]:
        message = self._message_of(action.comment, action.remote)
        conn_id = self._conn_ids.get(action.remote, 0)
        attempt = _ATTEMPT.search(action.comment)
        if attempt is not None:
            state = _SENT_IN.get(message, "QM_IDLE")
            yield from _retransmitting(conn_id, state, action, attempt)
        shown = self._shown(_SENT_IN, message, action.remote, conn_id)
        ends = f"my_port {action.local.port} peer_port {action.remote.port}"
        yield f"ISAKMP:({conn_id}): sending packet to {action.remote.address} {ends}{shown}"
        yield f"ISAKMP:({conn_id}):Sending an IKE IPv4 Packet."

    def _message_of(self, comment: str, peer: Endpoint) -> str:
        """The message's name as the engine's comment has it; our role is remembered."""
        found = _COMMENT.search(comment)
        if found is None:
            return ""
        _remember(self._roles, peer, found["role"])
        return found["message"]

    def _shown(self, states: Mapping[str, str], message: str, peer: Endpoint, conn_id: int) -> str:
        """Role and state behind an address; nothing where the message is not known."""
        if not message:
            return ""
        if message in _OPENING and states is _TAKEN_IN:
            return " (N) NEW SA"
        # A notify in clear belongs to an SA without keys.
        idle = "QM_IDLE" if conn_id else "MM_NO_STATE"
        return f" ({self._roles[peer]}) {states.get(message, idle)}"

    def _payloads_after(self, action: Transition) -> Iterator[str]:
        """What a main mode message holds: IOS lists it after the transition that it set off.

        What stands behind an ID waits for the dump of that ID.
        """
        taken, self._taken = self._taken, None
        if taken is None or taken.remote != action.peer:
            return
        listed = list(_payloads(taken, action.conn_id))
        first = next((i for i, text in enumerate(listed) if "processing ID " in text), len(listed))
        self._held = listed[first + 1 :]
        yield from listed[: first + 1]

    def _released(self) -> list[str]:
        held, self._held = self._held, []
        return held

    # --- state tables -------------------------------------------------------------------------

    def _transition(self, action: Transition) -> Iterator[str]:
        node = ""
        major, minor, old = action.major, action.minor, action.old_state
        if action.new_state.startswith(_OURS):
            if not old.startswith(_OURS):
                _remember(self._entered, action.peer, action)
            return
        if old.startswith(_OURS) and (first := self._entered.pop(action.peer, None)) is not None:
            major, minor, old = first.major, first.minor, first.old_state
        if action.message_id:
            node = f"Node {_signed(action.message_id)}, "
            if self.dialect == "12.4":
                key = (action.peer, action.message_id)
                if action.new_state == _AWAIT:
                    _remember(self._installing, key, action)
                    return
                if old == _AWAIT and (begun := self._installing.pop(key, None)) is not None:
                    major, minor, old = begun.major, begun.minor, begun.old_state
        yield f"ISAKMP:({action.conn_id}):{node}Input = {major}, {minor}"
        yield f"ISAKMP:({action.conn_id}):Old State = {old}  New State = {action.new_state}"

    # --- facts --------------------------------------------------------------------------------

    def _trace(self, action: Trace) -> Iterator[LogLine]:
        values = {name: visible(value) for name, value in action.values}
        texts = self._special(action, values)
        if texts is None and action.name in _TRACES:
            told = {**values, "c": str(action.conn_id), "peer": action.peer.address}
            texts = _filled(_TRACES[action.name], told)
        if texts is None:
            yield from _debug(self._released())
            words = " ".join(f"{name}={value}" for name, value in values.items())
            yield own("ISAKMP", f"({action.conn_id}): {action.name} {words}".rstrip(), DEBUG)
            return
        yield from _debug(texts)

    def _special(self, action: Trace, values: Mapping[str, str]) -> list[str] | None:
        """Traces whose lines depend on more than their values; None: another way to say them."""
        conn_id = action.conn_id
        match action.name:
            case "vendor-id" if values.get("vendor") in _VENDORS:
                return _vendor(conn_id, values["vendor"])
            case "peer-wants-cert":
                return _wanted(conn_id, values.get("authority", ""))
            case "constructing-cert-req" if "authority" in values:
                issuer = _dn(values["authority"])
                return [f"ISAKMP (0:{conn_id}): constructing CERT_REQ for issuer {issuer}"]
            case "my-id":
                return self._my_id(action, values)
            case "peer-id":
                dump = _id_dump(conn_id, values, self._after_id())
                return None if dump is None else [*dump, *self._released()]
            case "authenticated":
                return _authenticated(action, values.get("profile", ""))
            case "deleting-sa":
                return [self._deleting(action, values)]
            case "repeat":
                phase = 1 if values.get("message_id") == "0" else 2
                text = f"phase {phase} packet is a duplicate of a previous packet."
                return [f"ISAKMP:({conn_id}): {text}"]
            case "using-trustpoint":
                _remember(self._signing, action.peer, True)
        return None

    def _my_id(self, action: Trace, values: Mapping[str, str]) -> list[str]:
        signing = action.peer in self._signing
        method = "RSA signature" if signing else "pre-shared key"
        text = f"SA is doing {method} authentication using id type {values.get('type', '?')}"
        dump = _id_dump(action.conn_id, values, "CERT" if signing else "HASH")
        return [f"ISAKMP:({action.conn_id}):{text}", *(dump or [])]

    def _after_id(self) -> str:
        """The payload behind the ID of the message just taken."""
        following = dict(zip(self._names, self._names[1:], strict=False))
        return following.get("ID", "")

    def _deleting(self, action: Trace, values: Mapping[str, str]) -> str:
        role = self._roles.get(action.peer, "R")
        state = f"state ({role}) {values.get('state', '')} (peer {action.peer.address})"
        return f'ISAKMP:({action.conn_id}):deleting SA reason "{values.get("reason", "")}" {state}'


def _remember(memory: dict[K, V], key: K, value: V) -> None:
    """Keep a value as the newest; the oldest goes where strangers would fill the memory."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > REMEMBERED_PEERS:
        del memory[next(iter(memory))]


def _debug(texts: Iterable[str]) -> Iterator[LogLine]:
    return (LogLine(text, DEBUG) for text in texts)


def _filled(templates: Iterable[str], values: Mapping[str, str]) -> list[str] | None:
    """The templates with their values; None where one is missing, so that nothing is invented."""
    try:
        return [template.format_map(values) for template in templates]
    except KeyError:
        return None


def _signed(message_id: int) -> int:
    """IOS prints message IDs as signed numbers of 32 bits."""
    return message_id - (1 << 32) if message_id >> 31 else message_id


def _retransmitting(
    conn_id: int, state: str, action: SendDatagram, attempt: re.Match[str]
) -> Iterator[str]:
    phase1 = state != "QM_IDLE"
    message_id = int.from_bytes(action.octets[20:24], "big", signed=True)
    what = f"phase 1 {state}" if phase1 else f"phase 2 {state} {message_id} "
    counter = "sa" if phase1 else "node"
    budget = f"attempt {attempt['number']} of {attempt['budget']}"
    yield f"ISAKMP:({conn_id}): retransmitting {what}..."
    yield (
        f"ISAKMP (0:{conn_id}): incrementing error counter on {counter}, {budget}:"
        f" retransmit phase {1 if phase1 else 2}"
    )
    yield f"ISAKMP:({conn_id}): retransmitting {what}".rstrip()


def _payloads(taken: PlainMessage, conn_id: int) -> Iterator[str]:
    """A line a payload; requests for certificates and vendor IDs have traces of their own."""
    message_id = int.from_bytes(taken.datagram[20:24], "big", signed=True)
    for name in taken.payloads:
        if name in _NAMED:
            text = f"processing {_NAMED[name]} payload. message ID = {message_id}"
            yield f"ISAKMP:({conn_id}): {text}"
        if name == "CERT":
            yield f"ISAKMP:({conn_id}): processing a CT_X509_SIGNATURE cert"


def _vendor(conn_id: int, vendor: str) -> list[str]:
    octets, name = _VENDORS[vendor]
    lines = [f"ISAKMP:({conn_id}): processing vendor id payload"]
    if octets:
        # IOS compares the first octets with Unity's and DPD's and calls octet 14 the major version.
        text = f"vendor ID seems Unity/DPD but major {octets[14]} mismatch"
        lines.append(f"ISAKMP:({conn_id}): {text}")
    return [*lines, f"ISAKMP:({conn_id}): vendor ID is {name}"]


def _wanted(conn_id: int, authority: str) -> list[str]:
    return [
        f"ISAKMP:({conn_id}): processing CERT_REQ payload. message ID = 0",
        f"ISAKMP:({conn_id}): peer wants a CT_X509_SIGNATURE cert",
        f"ISAKMP:({conn_id}): peer wants cert issued by {_dn(authority)}",
    ]


def _dn(authority: str) -> str:
    """A DER name in hexadecimal, for people; the digits where a peer sent no such name."""
    try:
        return visible(format_name(bytes.fromhex(authority)))
    except (PkiError, ValueError):
        return authority[:64] or "any CA"


def _id_dump(conn_id: int, values: Mapping[str, str], following: str) -> list[str] | None:
    """The dump of an ID payload, of the two types whose octets are their text."""
    written, text = values.get("type", ""), values.get("id", "")
    known = {str(int(kind)): kind for kind in IdType} | {kind.name: kind for kind in IdType}
    kind = known.get(written)
    if kind is IdType.ID_IPV4_ADDR:
        label, length = "address", 4
    elif kind is IdType.ID_FQDN:
        label, length = "FQDN name", len(text)
    else:
        return None
    return [
        f"ISAKMP (0:{conn_id}): ID payload\n"
        f"\tnext-payload : {_NEXT_PAYLOAD.get(following, 0)}\n"
        f"\ttype         : {int(kind)}\n"
        f"\t{label:<12} : {text}\n"
        "\tprotocol     : 17\n"
        "\tport         : 500\n"
        f"\tlength       : {8 + length}"
    ]


def _authenticated(action: Trace, profile: str) -> list[str]:
    match = profile if profile == "*none*" else f"{profile} profile"
    ending = " of the profiles" if profile == "*none*" else ""
    c = action.conn_id
    return [
        f"ISAKMP:({c}):: peer matches {match}{ending}",
        f"ISAKMP:({c}):SA authentication status:\n\tauthenticated",
        f"ISAKMP:({c}):SA has been authenticated with {action.peer.address}",
    ]


def _pair(action: InstallIpsecSa) -> Iterator[str]:
    local, remote = action.local.address, action.remote.address
    ours, theirs = action.local_proxy.address, action.remote_proxy.address
    directions = (
        ("inbound", remote, local, theirs, ours, action.inbound.spi),
        ("outbound", local, remote, ours, theirs, action.outbound.spi),
    )
    for name, source, destination, from_proxy, to_proxy, spi in directions:
        yield (
            f"        {name} SA from {source} to {destination} (f/i)  0/ 0\n"
            f"        (proxy {from_proxy} to {to_proxy})"
        )
        yield f"        has spi 0x{spi.hex().upper()} and conn_id 0"
        yield f"        lifetime of {action.lifetime_seconds} seconds"
        yield f"        lifetime of {action.lifetime_kilobytes} kilobytes"


def _refused(action: Refused) -> Iterator[LogLine]:
    """IOS's message where it has one, then why, in our words."""
    peer, reason = action.peer.address, action.reason
    if reason in _VALIDITY:
        text = "Certificate chain validation has failed."
        yield LogLine(f"%PKI-3-CERTIFICATE_INVALID_{_VALIDITY[reason]}: {text}")
    if reason in _CERTIFICATE_REASONS or reason.startswith("crl-"):
        text = f"Certificate received from {peer} is bad: CA request failed!"
        yield LogLine(f"%CRYPTO-5-IKMP_INVAL_CERT: {text}")
    if reason in _MALFORMED_REASONS:
        text = f"IKE message from {peer} failed its sanity check or is malformed"
        yield LogLine(f"%CRYPTO-4-IKMP_BAD_MESSAGE: {text}")
    if reason == "no-proposal-chosen" and action.message == "MM1":
        yield LogLine(f"ISAKMP:({action.conn_id}):no offers accepted!", DEBUG)
    told = f"{action.message} from {action.peer}: {reason}: {action.detail}"
    yield own("REFUSED", told, DEBUG)
