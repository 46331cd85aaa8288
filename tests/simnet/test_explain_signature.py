"""`explain signature` on the messages of a real handshake, with openssl as a witness."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from ikelab.capture.explain import PhaseOneSecrets, Proof, explain_proof, lines
from ikelab.errors import WireError
from ikelab.isakmp.events import KeyMaterial, PlainMessage, SendDatagram
from ikelab.isakmp.policy import AggressivePeer
from ikelab.pki.x509 import load_certificate
from ikelab.wire.isakmp import parse_payloads
from ikelab.wire.numbers import IdType, PayloadType
from tests.dialogue.playbook import I_END, PSK, R_END, Pair, config
from tests.simnet import first_tunnel
from tests.simnet.guide import boot
from tests.simnet.labs import boot_lab, configure
from tests.simnet.network import Simnet, SimNode

Datagrams = tuple[tuple[int, bytes], ...]
Secrets = dict[bytes, PhaseOneSecrets]


def secrets_of(actions: list[object]) -> Secrets:
    return {
        one.cky_i: PhaseOneSecrets(one.encryption_key, dict(one.others)["skeyid"])
        for one in actions
        if isinstance(one, KeyMaterial)
    }


@cache
def handshake() -> tuple[Datagrams, Secrets, SimNode, SimNode]:
    """Every datagram of a handshake with RSA signatures, numbered from 1 as frames are."""
    net = boot()
    spoke, hub = net.nodes["r35-1-1020"], net.nodes["s-dmvpn-headend"]
    sent = recorded(net)
    net.acquire(spoke)
    assert net.run(5, lambda: bool(spoke.installed))
    return tuple(enumerate(sent, start=1)), secrets_of([*spoke.log]), spoke, hub


def proof(frame: int) -> Proof:
    datagrams, secrets, _, _ = handshake()
    return explain_proof(datagrams, frame, secrets)


@pytest.mark.parametrize(("frame", "name", "message"), [(5, "HASH_I", "MM5"), (6, "HASH_R", "MM6")])
def test_signature_holds_the_hash_that_skeyid_gives(frame: int, name: str, message: str) -> None:
    found = proof(frame)
    assert (found.name, found.message, found.holds) == (name, message, True)
    assert found.recovered == found.padded
    assert found.recovered.endswith(b"\0" + found.computed)
    assert len(found.computed) == 16  # MD5


def test_openssl_recovers_the_same_block(tmp_path: Path) -> None:
    _, _, spoke, _ = handshake()
    plain = next(one for one in spoke.log if isinstance(one, PlainMessage) and one.message == "MM6")
    payloads = parse_payloads(plain.plaintext[16], plain.plaintext[28:], offset=28)
    by_type = {payload.type: payload.packet for payload in payloads}
    certificate = load_certificate(bytes(by_type[PayloadType.CERT].data))
    (tmp_path / "key.der").write_bytes(certificate.public_key_info)
    (tmp_path / "sig").write_bytes(bytes(by_type[PayloadType.SIG].data))
    done = subprocess.run(
        ["openssl", "pkeyutl", "-verifyrecover", "-pubin", "-keyform", "DER", "-inkey", "key.der"]
        + ["-in", "sig", "-pkeyopt", "rsa_padding_mode:none"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert done.stdout == proof(6).recovered


def test_signature_of_something_else_is_told_apart() -> None:
    datagrams, secrets, _, _ = handshake()
    cookie, known = next(iter(secrets.items()))
    other = {cookie: replace(known, skeyid=bytes(16))}
    found = explain_proof(datagrams, 5, other)
    assert not found.holds
    assert found.recovered == proof(5).recovered
    assert found.computed != proof(5).computed
    assert "not the same" in lines(found)[-1]


def test_pre_shared_keys_prove_themselves_by_the_bare_hash() -> None:
    pair = Pair(
        config("spoke1", I_END, R_END, policies=(PSK,)),
        config("hub", R_END, I_END, policies=(PSK,)),
    )
    pair.establish()
    sent = sorted(
        (*pair.i.of(SendDatagram), *pair.r.of(SendDatagram)), key=lambda one: one.comment[-30:]
    )
    order = {f"MM{number}": number for number in range(1, 7)}
    numbered = sorted(
        (order[name], one.octets)
        for one in sent
        for name in order
        if f"sends {name} " in one.comment
    )
    found = explain_proof(numbered, 5, secrets_of([*pair.i.log]))
    assert (found.method, found.holds, found.sent) == ("PRE_SHARED_KEY", True, found.computed)
    assert lines(found)[-1] == "the same: the peer has the key"


def recorded(net: Simnet) -> list[bytes]:
    """The datagrams that will be sent, in order."""
    sent: list[bytes] = []
    carry = net._send
    net._send = lambda action: (sent.append(action.octets), carry(action))[1]  # type: ignore
    return sent


def aggressive_with_keys() -> Simnet:
    return boot_lab("first-tunnel-psk", "hub", "spoke1")


def aggressive_with_certificates() -> Simnet:
    net = first_tunnel.boot()
    first_tunnel.enroll_all(net)
    return net


@pytest.mark.parametrize("lab", [aggressive_with_keys, aggressive_with_certificates])
def test_aggressive_mode_proves_itself_in_messages_2_and_3(lab: Callable[[], Simnet]) -> None:
    net = lab()
    hub, spoke = net.nodes["hub"], net.nodes["spoke1"]
    to_hub = AggressivePeer("192.168.159.242", IdType.ID_FQDN, "spoke1.cisco.example")
    configure(net, hub, aggressive_mode=True)
    configure(net, spoke, aggressive_mode=True, aggressive_peers={to_hub.address: to_hub})
    sent = recorded(net)
    net.acquire(spoke)
    net.run(5)
    secrets, datagrams = secrets_of([*spoke.log]), tuple(enumerate(sent, start=1))
    for frame, message, name in ((2, "AM2", "HASH_R"), (3, "AM3", "HASH_I")):
        found = explain_proof(datagrams, frame, secrets)
        assert (found.message, found.name, found.holds) == (message, name, True)
    assert found.identity == "spoke1.cisco.example"
    with pytest.raises(WireError, match="message 1 of aggressive mode: it proves nothing"):
        explain_proof(datagrams, 1, secrets)


def test_a_wrong_message_5_before_the_right_one_takes_nothing_from_either() -> None:
    datagrams, secrets, _, _ = handshake()
    fifth = datagrams[4][1]
    wrong = fifth[:-40] + bytes(40)
    told = [*datagrams[:4], (5, wrong), (6, fifth), (7, datagrams[5][1])]
    assert [explain_proof(told, frame, secrets).message for frame in (6, 7)] == ["MM5", "MM6"]
    assert explain_proof(told, 6, secrets).holds and explain_proof(told, 7, secrets).holds


def test_what_is_no_proof_is_said() -> None:
    datagrams, secrets, _, _ = handshake()
    for frame, why in ((1, "no message 5 or 6"), (99, "carries no UDP datagram")):
        with pytest.raises(WireError, match=why):
            explain_proof(datagrams, frame, secrets)
    with pytest.raises(WireError, match="keys have none"):
        explain_proof(datagrams, 5, {})
    with pytest.raises(WireError, match="the messages before it"):
        explain_proof(datagrams[4:], 5, secrets)


def test_the_text_counts_the_padding_and_names_the_signer() -> None:
    text = "\n".join(lines(proof(5)))
    assert "padded block: 00 01 | ff x 109 | 00 | " in text
    assert "signed with the key of: serialNumber=" in text
    assert "identity: r35-1-1020.cisco.com" in text
