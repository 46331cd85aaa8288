"""The steps of aggressive mode (RFC 2409 sections 5.1 and 5.4), named by the rows of `state.py`.

Three messages do the work of six: proposal, key exchange and identity travel together, in clear.
What that costs: the group cannot be negotiated, both names are seen by everybody, and with a
pre-shared key the responder's HASH_R lets anyone who asks guess the key offline. So it is off
unless the configuration allows it (`no crypto isakmp aggressive-mode disable`).

Message 2 is not sent again by a timer: its receiver is not proven to be there before message 3.
It may be larger than message 1, for HASH or SIG and certificates stand in it alone; so an address
that shows our cookie in no message 3 gets few of them (`admission.check_answers`).
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ikelab.isakmp import faults, fragmentation, identity, nat_t, phase1, proof, state
from ikelab.isakmp.policy import AggressivePeer, IsakmpPolicy
from ikelab.isakmp.work import Work
from ikelab.wire import vendor_id
from ikelab.wire.isakmp import body_of
from ikelab.wire.numbers import IdType
from ikelab.wire.payloads import VENDOR_ID

if TYPE_CHECKING:
    from ikelab.wire.layer import Layer


def send_am1(work: Work) -> bool:
    """Initiator: offer, key exchange and name at once."""
    peer = identity.find_aggressive_peer(work.config, work.sa.remote.address)
    if peer is None:
        raise faults.aggressive_mode_disabled()
    policies = _offered(phase1.usable_policies(work))
    packets: list[Layer] = [phase1.begin(work, policies)]
    work.trace("beginning-aggressive-mode")
    packets += phase1.own_half(work, policies[0].group)
    own_id = proof.id_payload(work, *_endpoint(peer))
    work.sa.own_id_b = body_of(own_id)
    packets.append(own_id)
    packets += phase1.certificate_requests(work, policies)
    packets += [*nat_t.offer(work), *fragmentation.offer(work), VENDOR_ID(data=vendor_id.DPD)]
    work.send_phase1(state.AM1, packets)
    work.start_retransmission(state.AM1)
    return True


def _offered(usable: list[IsakmpPolicy]) -> list[IsakmpPolicy]:
    """Message 1 holds a public value already: only policies of the first one's group go with it."""
    return [policy for policy in usable if policy.group is usable[0].group]


def _endpoint(peer: AggressivePeer) -> tuple[IdType, bytes]:
    """`set aggressive-mode client-endpoint` as an ID."""
    assert peer.id_type is not None, "a peer without an endpoint is no reason to begin"
    if peer.id_type is IdType.ID_IPV4_ADDR:
        return peer.id_type, IPv4Address(peer.id_value).packed
    return peer.id_type, peer.id_value.encode()


def process_am1(work: Work) -> bool:
    """Responder: read the name first, for it may name the key; then choose."""
    proof.take_id(work)
    phase1.choose(work, work.config.policies)
    phase1.take_half(work)
    phase1.note_requests(work)
    return True


def send_am2(work: Work) -> bool:
    """Responder: our half, our name and our proof; the keys exist from here on."""
    half = phase1.own_half(work, phase1.chosen_policy(work).group)
    phase1.derive_keys(work)
    certificates = proof.choose_certificates(work)
    own_id = proof.own_identity(work)
    proof.tell_credential(work)
    packets: list[Layer] = [work.reply, *half, own_id, *certificates]
    packets.append(proof.prove(work, body_of(own_id)))
    packets += phase1.certificate_requests(work, [phase1.chosen_policy(work)])
    packets.append(VENDOR_ID(data=vendor_id.DPD))
    packets += [*nat_t.answer(work), *fragmentation.answer(work), *nat_t.nat_d(work)]
    work.send_phase1(state.AM2, packets)
    return True


def take_am2(work: Work) -> bool:
    """Initiator: everything of the responder's; with certificates, wait for their check."""
    phase1.accept(work, _offered(phase1.usable_policies(work)))
    phase1.take_half(work)
    phase1.derive_keys(work)
    phase1.note_requests(work)
    nat_t.compare(work)
    proof.take_id(work)
    return proof.take_proof(work)


def send_am3(work: Work) -> bool:
    """Initiator: our proof, under the new keys, as all known implementations send it.

    RFC 2409 section 5 leaves it open; `take_am3` takes both.
    """
    nat_t.float_ports(work)  # first: the peer compares NAT-D with the ports of this message
    certificates = proof.choose_certificates(work)
    proof.tell_credential(work)
    packets = [*certificates, proof.prove(work, work.sa.own_id_b)]
    packets += [*nat_t.nat_d(work), *proof.initial_contact(work)]
    work.send_phase1(state.AM3, packets)
    return True


def take_am3(work: Work) -> bool:
    """Responder: the initiator's proof; with certificates, wait for their check."""
    message = work.message
    if message.next_iv:
        work.sa.iv = message.next_iv
        # HASH_I does not cover a notify: in clear anybody may have put it there.
        proof.take_initial_contact(work)
    nat_t.compare(work)
    return proof.take_proof(work)
