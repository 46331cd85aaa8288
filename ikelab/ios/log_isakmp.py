"""The debug lines of the IKE engine, in the words of `debug crypto isakmp`.

Texts are the guide's (12.4 images) or those of public traces; what IOS has no line for is ours and
marked IKELAB. The engine reports facts, not lines: what a line needs besides (conn-id, role, the
state shown) is remembered here from the actions before it, and IOS's order where the engine works
in another.

Some lines of IOS say what no router should do: a refused certificate "adds the peer's key to the
cache", the error counter starts again from 1. They are words here, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ikelab.errors import PkiError
from ikelab.ios.debugging import ISAKMP as DEBUG
from ikelab.ios.log_facts import Values, fact_lines, joined, signed, subject_lines
from ikelab.ios.log_line import LogLine, own
from ikelab.ios.text import visible
from ikelab.isakmp import fragmentation
from ikelab.isakmp.events import (
    AllocateSpi,
    InstallIpsecSa,
    PlainMessage,
    Refused,
    SendDatagram,
    Trace,
    Transition,
)
from ikelab.pki.x509 import load_certificate

REMEMBERED_PEERS = 4096  # several times the spokes of one hub
Dialect = Literal["12.4", "15"]
"""12.4 prints no IKE_QM_IPSEC_INSTALL_AWAIT: two rows of the table are one in its log."""

_AWAIT = "IKE_QM_IPSEC_INSTALL_AWAIT"
_QM_DONE = "IKE_QM_PHASE2_COMPLETE"
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
_NEW_NODE = ("QM1", "INFO")
# States of aggressive mode that IOS has no name for: rows that lead through them print as one.
_OURS = "AGGRESSIVE_"
# Reasons of a refused certificate chain.
_CERTIFICATE_REASONS = frozenset(
    "untrusted-issuer expired not-yet-valid revoked not-a-ca path-length key-usage"
    " unknown-critical-extension weak-algorithm malformed-certificate"
    " certificate-bad-signature".split()
)
_MALFORMED_REASONS = frozenset(
    "malformed undecryptable payload-missing payload-unexpected payload-order".split()
)
_VALIDITY = {"not-yet-valid": "NOT_YET_VALID", "expired": "EXPIRED"}


@dataclass(slots=True)
class _Peer:
    """What is remembered of a peer. role: I or R, of our side in what was said last.

    vendors: lines of the vendor IDs of the message that is read. certificate: of the peer, DER in
    hexadecimal. refused: how often it was refused in this SA. deleting: the last such line.
    """

    conn_id: int = 0
    role: str = "R"
    vendors: list[str] = field(default_factory=list)
    certificate: str = ""
    refused: int = 0
    failed: bool = False
    deleting: str = ""
    by_peer: bool = False
    entered: Transition | None = None


@dataclass(slots=True)
class IsakmpLog:
    """Turns actions into lines, and remembers a few words of each of the last peers."""

    dialect: Dialect = "12.4"
    _peers: dict[str, _Peer] = field(default_factory=dict)
    _installing: dict[tuple[str, int], Transition] = field(default_factory=dict)
    _opening: list[LogLine] | None = None
    _authenticating: list[LogLine] = field(default_factory=list)
    _completing: list[LogLine] = field(default_factory=list)

    def lines(self, action: object) -> Iterator[LogLine]:
        """The lines of one action; none for those that IOS says nothing about."""
        yield from self._in_order(action, list(self._rendered(action)))

    def messages(self, action: object) -> Iterator[LogLine]:
        """The lines that come without `debug crypto isakmp`; what later ones need is remembered."""
        match action:
            case Transition():
                self._note(action)
            case Trace() if action.name in _NOTED:
                self._note(action)
            case Refused():
                yield from (line for line in self._refused(action) if not line.debug)

    def flush(self) -> Iterator[LogLine]:
        """What is still held back for its place: nothing more comes for the moment."""
        yield from self._opening or ()
        yield from self._authenticating
        yield from self._completing
        self._opening, self._authenticating, self._completing = None, [], []

    # --- IOS's order --------------------------------------------------------------------------

    def _in_order(self, action: object, lines: list[LogLine]) -> Iterator[LogLine]:
        """The lines that may be printed now.

        IOS prints the first transition before the message that it sends, the initiator's move to
        MM6 when the peer is authenticated, and that phase 1 is complete when quick mode has begun.
        """
        if self._opening is not None:
            if isinstance(action, Transition | Refused):
                yield from lines
                yield from self.flush()
            else:
                self._opening += lines
        elif isinstance(action, Trace) and action.name.startswith("beginning-main"):
            self._opening = lines
        elif isinstance(action, Transition):
            yield from self._transition_in_order(action, lines)
        elif self._completing and not _leads_to_quick_mode(action):
            yield from self.flush()
            yield from lines
        else:
            yield from lines

    def _transition_in_order(self, action: Transition, lines: list[LogLine]) -> Iterator[LogLine]:
        if self._authenticating:
            yield from self.flush()
        if action.new_state == "IKE_I_MM6" and action.old_state == "IKE_I_MM5":
            self._authenticating = lines
        elif action.minor == "IKE_PHASE1_COMPLETE" and self._peer(action.peer.address).role == "I":
            self._completing = lines
        elif action.minor == "IKE_INIT_QM":
            yield from lines
            yield from self.flush()
        else:
            yield from self.flush()
            yield from lines

    def _rendered(self, action: object) -> Iterator[LogLine]:
        match action:
            case PlainMessage(sent=False, message=fragmentation.NAME):
                yield own("FRAGMENT", action.comment, DEBUG)
            case PlainMessage(sent=False):
                yield from _debug(self._receive(action))
            case SendDatagram():
                yield from _debug(self._send(action))
            case Transition():
                self._note(action)
                yield from _debug(self._transition(action))
            case Trace():
                self._note(action)
                yield from self._trace(action)
            case InstallIpsecSa():
                yield from _debug(_pair(action))
            case Refused():
                yield from self._refused(action)
            case _:
                return

    # --- memory -------------------------------------------------------------------------------

    def _peer(self, address: str) -> _Peer:
        """A peer's memory, now the newest; the oldest goes where strangers would fill it."""
        known = self._peers.pop(address, None) or _Peer()
        self._peers[address] = known
        if len(self._peers) > REMEMBERED_PEERS:
            del self._peers[next(iter(self._peers))]
        return known

    def _note(self, action: Transition | Trace) -> None:
        if isinstance(action, Trace) and action.name == "sa-inserted":
            self._peers.pop(action.peer.address, None)
        peer = self._peer(action.peer.address)
        if isinstance(action, Transition) or action.name not in ("rekeying-ipsec", "sa-inserted"):
            peer.conn_id = action.conn_id
        if isinstance(action, Trace):
            self._note_fact(peer, action)

    def _note_fact(self, peer: _Peer, action: Trace) -> None:
        values = dict(action.values)
        match action.name:
            case "sa-inserted":
                peer.role = "I" if values.get("initiator") == "1" else "R"
            case "peer-certificate":
                peer.certificate = values.get("der", "")
            case "processing":
                peer.vendors = []

    # --- datagrams ----------------------------------------------------------------------------

    def _receive(self, action: PlainMessage) -> Iterator[str]:
        message, peer = self._message_of(action.comment, action.remote.address)
        conn_id = peer.conn_id if message not in _OPENING else 0
        shown = _shown(_TAKEN_IN, message, peer, conn_id)
        ends = f"dport {action.local.port} sport {action.remote.port} Global"
        yield f"ISAKMP (0:{conn_id}): received packet from {action.remote.address} {ends}{shown}"
        if message in _NEW_NODE:
            yield f"ISAKMP: set new node {_message_id(action.datagram)} to QM_IDLE"

    def _send(self, action: SendDatagram) -> Iterator[str]:
        message, peer = self._message_of(action.comment, action.remote.address)
        conn_id, message_id = peer.conn_id, _message_id(action.octets)
        attempt = _ATTEMPT.search(action.comment)
        if attempt is not None:
            state = _SENT_IN.get(message, "QM_IDLE")
            number = "2" if peer.failed else attempt["number"]
            budget = f"attempt {number} of {attempt['budget']}"
            yield from _retransmitting(conn_id, state, message_id, budget)
        is_node = message == "INFO" and conn_id != 0
        if is_node:
            yield f"ISAKMP: set new node {message_id} to QM_IDLE"
        shown = _shown(_SENT_IN, message, peer, conn_id)
        ends = f"my_port {action.local.port} peer_port {action.remote.port}"
        yield f"ISAKMP:({conn_id}): sending packet to {action.remote.address} {ends}{shown}"
        yield f"ISAKMP:({conn_id}):Sending an IKE IPv4 Packet."
        if is_node:
            yield f"ISAKMP:({conn_id}):purging node {message_id}"

    def _message_of(self, comment: str, address: str) -> tuple[str, _Peer]:
        """The message's name as the engine's comment has it; our role is remembered."""
        peer, found = self._peer(address), _COMMENT.search(comment)
        if found is None:
            return "", peer
        peer.role = found["role"]
        return found["message"], peer

    # --- state tables -------------------------------------------------------------------------

    def _transition(self, action: Transition) -> Iterator[str]:
        peer, c = self._peer(action.peer.address), action.conn_id
        major, minor, old = action.major, action.minor, action.old_state
        if action.new_state.startswith(_OURS):
            if not old.startswith(_OURS):
                peer.entered = action
            return
        if old.startswith(_OURS) and peer.entered is not None:
            first, peer.entered = peer.entered, None
            major, minor, old = first.major, first.minor, first.old_state
        node = f"Node {signed(action.message_id)}, " if action.message_id else ""
        if node and self.dialect == "12.4":
            key = (action.peer.address, action.message_id)
            if action.new_state == _AWAIT:
                self._installing[key] = action
                if len(self._installing) > REMEMBERED_PEERS:
                    del self._installing[next(iter(self._installing))]
                return
            if old == _AWAIT and (begun := self._installing.pop(key, None)) is not None:
                major, minor, old = begun.major, begun.minor, begun.old_state
        if action.new_state == _QM_DONE:
            reason = "QM done (await)" if old == "IKE_QM_R_QM2" else "No Error"
            text = f'deleting node {signed(action.message_id)} error FALSE reason "{reason}"'
            yield f"ISAKMP:({c}):{text}"
        if minor == "IKE_PROCESS_ERROR":
            yield from self._failing(action, peer)
        yield f"ISAKMP:({c}):{node}Input = {major}, {minor}"
        yield f"ISAKMP:({c}):Old State = {old}  New State = {action.new_state}"
        if action.new_state == "IKE_DEST_SA" and peer.deleting:
            yield peer.deleting

    def _failing(self, action: Transition, peer: _Peer) -> Iterator[str]:
        """The row that failed, and the error counter, which IOS always prints as the first."""
        c, old = action.conn_id, action.old_state
        minor = "IKE_PROCESS_AGGRESSIVE_MODE" if "_AM" in old else "IKE_PROCESS_MAIN_MODE"
        yield f"ISAKMP:({c}):Input = IKE_MESG_INTERNAL, {minor}"
        yield f"ISAKMP:({c}):Old State = {old}  New State = {old}"
        if c:
            peer.failed = True
            text = "incrementing error counter on sa, attempt 1 of 5: reset_retransmission"
            yield f"ISAKMP (0:{c}): {text}"

    # --- facts --------------------------------------------------------------------------------

    def _trace(self, action: Trace) -> Iterator[LogLine]:
        values = {name: visible(value) for name, value in action.values}
        peer = self._peer(action.peer.address)
        told = {**values, "c": str(action.conn_id), "peer": action.peer.address}
        told["port"] = values.get("port", str(action.peer.port))
        if action.name == "deleting-sa":
            yield from _debug([_deleting(told, peer)])
            return
        if peer.refused and self.dialect == "12.4" and action.name in _READ_ONCE:
            if action.name != "processing" or values.get("payload") == "ID":
                return
        texts = fact_lines(action.name, told)
        if texts is None:
            words = joined(values.items())
            yield own("ISAKMP", f"({action.conn_id}): {action.name} {words}".rstrip(), DEBUG)
            return
        if action.name == "vendor-id":
            peer.vendors += texts
        elif action.name == "lifetime-started" and self.dialect == "12.4":
            texts += peer.vendors  # read a second time
        yield from _debug(texts)
        if action.name == "sa-removed":
            yield from _debug(self._gone(action, peer))

    def _gone(self, action: Trace, peer: _Peer) -> Iterator[str]:
        """The SA is out of the table; 12.4 lets the peer's DELETE run through the tables too."""
        if peer.by_peer and self.dialect == "12.4":
            yield f"ISAKMP:({action.conn_id}):Input = IKE_MESG_FROM_PEER, IKE_MM_EXCH"
            yield f"ISAKMP:({action.conn_id}):Old State = IKE_DEST_SA  New State = IKE_DEST_SA"
        del self._peers[action.peer.address]

    # --- refusals -----------------------------------------------------------------------------

    def _refused(self, action: Refused) -> Iterator[LogLine]:
        """IOS's message where it has one, then why, in our words."""
        address, reason = action.peer.address, action.reason
        if reason in _VALIDITY:
            text = "Certificate chain validation has failed."
            yield LogLine(f"%PKI-3-CERTIFICATE_INVALID_{_VALIDITY[reason]}: {text}")
        if reason in _CERTIFICATE_REASONS or reason.startswith("crl-"):
            yield from self._certificate_refused(action)
        if reason in _MALFORMED_REASONS:
            text = f"IKE message from {address} failed its sanity check or is malformed"
            yield LogLine(f"%CRYPTO-4-IKMP_BAD_MESSAGE: {text}")
        if reason == "no-proposal-chosen" and action.message == "MM1":
            yield LogLine(f"ISAKMP:({action.conn_id}):no offers accepted!", DEBUG)
        told = f"{action.message} from {action.peer}: {reason}: {action.detail}"
        yield own("REFUSED", told, DEBUG)

    def _certificate_refused(self, action: Refused) -> Iterator[LogLine]:
        """The first time IOS says that the certificate is bad, then that it cannot find the key."""
        peer, c = self._peer(action.peer.address), action.conn_id
        peer.refused += 1
        if peer.refused == 1 or self.dialect != "12.4":
            text = f"Certificate received from {action.peer.address} is bad: CA request failed!"
            yield LogLine(f"%CRYPTO-5-IKMP_INVAL_CERT: {text}")
            return
        yield from _debug(subject_lines(str(c), _subject(peer.certificate)))
        yield LogLine("ISAKMP:(0):: peer matches *none* of the profiles", DEBUG)
        yield LogLine(f"ISAKMP ({c}): adding peer's pubkey to cache", DEBUG)
        yield LogLine(f"ISAKMP:({c}): processing SIG payload. message ID = 0", DEBUG)
        yield LogLine("%CRYPTO-3-IKMP_QUERY_KEY: Querying key pair failed.")
        yield LogLine(f"ISAKMP (0:{c}): process_rsa_sig: Querying key pair failed.", DEBUG)


# Facts that later lines need, also where nothing is printed.
_NOTED = ("sa-inserted", "peer-certificate", "authenticated")
# What 12.4 reads of a message 5 the first time only.
_READ_ONCE = ("processing", "peer-id", "peer-profile")


def _leads_to_quick_mode(action: object) -> bool:
    """What comes between the end of phase 1 and the first transition of the quick mode after it."""
    return isinstance(action, AllocateSpi | Trace | SendDatagram) or (
        isinstance(action, PlainMessage) and action.sent
    )


def _shown(states: Mapping[str, str], message: str, peer: _Peer, conn_id: int) -> str:
    """Role and state behind an address; nothing where the message is not known."""
    if not message:
        return ""
    if message in _OPENING and states is _TAKEN_IN:
        return " (N) NEW SA"
    # A notify in clear belongs to an SA without keys.
    idle = "QM_IDLE" if conn_id else "MM_NO_STATE"
    return f" ({peer.role}) {states.get(message, idle)}"


def _deleting(values: Values, peer: _Peer) -> str:
    reason, c = values.get("reason", ""), values["c"]
    state = f"state ({peer.role}) {values.get('state', '')} (peer {values['peer']})"
    peer.deleting = f'ISAKMP:({c}):deleting SA reason "{reason}" {state}'
    peer.by_peer = reason.startswith("P1 delete notify")
    return peer.deleting


def _subject(certificate: str) -> str:
    """The subject of a certificate, both in hexadecimal; "" where it is none."""
    try:
        return load_certificate(bytes.fromhex(certificate)).subject.hex()
    except (PkiError, ValueError):
        return ""


def _message_id(octets: bytes) -> int:
    return int.from_bytes(octets[20:24], "big", signed=True)


def _debug(texts: Iterable[str]) -> Iterator[LogLine]:
    return (LogLine(text, DEBUG) for text in texts)


def _retransmitting(conn_id: int, state: str, message_id: int, budget: str) -> Iterator[str]:
    phase1 = state != "QM_IDLE"
    what = f"phase 1 {state}" if phase1 else f"phase 2 {state} {message_id} "
    counter = "sa" if phase1 else "node"
    yield f"ISAKMP:({conn_id}): retransmitting {what}..."
    yield (
        f"ISAKMP (0:{conn_id}): incrementing error counter on {counter}, {budget}:"
        f" retransmit phase {1 if phase1 else 2}"
    )
    yield f"ISAKMP:({conn_id}): retransmitting {what}".rstrip()


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
