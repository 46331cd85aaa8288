"""After the first tunnel: chains of any depth, dead peer detection, rekeying by charon."""

from __future__ import annotations

import pytest

from ikelab.isakmp.events import (
    CheckPeerCert,
    DeleteIpsecSa,
    InstallIpsecSa,
    PlainMessage,
    Refused,
    SaRequested,
)
from tests.interop.engine_host import FileKeys, certificate_in
from tests.interop.suites import (
    THEIRS,
    bring_up,
    check_kernel_keys,
    check_same_keys,
    psk_config,
    psk_connection,
    rsa_config,
    rsa_connection,
)

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]

SUITE = "aes256-sha256-modp2048"


def root_of(pki):
    """CERT_REQ for the root alone."""
    return (("root-ca", certificate_in(pki.root).subject.public_bytes()),)


def sent_messages(ours, start):
    """Payload names of what we sent, by the first words of the comment."""
    return [m.payloads for m in ours.of(PlainMessage) if m.sent and start in m.comment]


# charon asks in message 4 when it responds, but not before message 5 when it initiates.
@pytest.mark.parametrize(
    "we_initiate", [pytest.param(True, id="initiator"), pytest.param(False, id="responder")]
)
def test_a_peer_that_knows_the_root_alone_gets_our_sub_ca(start, segment, pki, we_initiate):
    segment.serve(pki.web)
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    connection = rsa_connection(SUITE, pki, hub, authorities=(pki.root,))
    ours, charon = start(rsa_config(SUITE, pki, leaf), connection, keys=FileKeys(leaf.key), pki=pki)
    with charon, ours:
        bring_up(ours, charon, we_initiate=we_initiate)
        check_same_keys(ours, charon)
        (names,) = sent_messages(ours, "sends MM5" if we_initiate else "sends MM6")
        assert names.count("CERT") == 2
    assert 'received issuer cert "O=ikelab, CN=ra-subca"' in charon.log_file.read_text()


def test_charon_sends_its_sub_ca_when_we_ask_for_the_root(start, segment, pki):
    segment.serve(pki.web)
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    ours, charon = start(
        rsa_config(SUITE, pki, leaf, trusted_authorities=root_of(pki)),
        rsa_connection(SUITE, pki, hub),
        keys=FileKeys(leaf.key),
        pki=pki,
    )
    with charon, ours:
        bring_up(ours, charon, we_initiate=True)
        (check,) = ours.of(CheckPeerCert)
        assert len(check.certificates) == 2


def test_we_answer_dead_peer_detection(start):
    ours, charon = start(psk_config(SUITE), psk_connection(SUITE, dpd_delay=1))
    with charon, ours:
        bring_up(ours, charon, we_initiate=True)
        ours.run_until(
            lambda: "parsed INFORMATIONAL_V1" in charon.log_file.read_text(), "R_U_THERE_ACK"
        )
        assert "[ HASH N(DPD_ACK) ]" in charon.log_file.read_text()
        assert charon.is_up()
        assert ours.of(Refused) == []


def test_charon_rekeys_the_child(start):
    ours, charon = start(psk_config(SUITE), psk_connection(SUITE))
    with charon, ours:
        bring_up(ours, charon, we_initiate=True)
        charon.start_rekeying(child=True)
        ours.run_until(lambda: bool(ours.of(DeleteIpsecSa)), "delete of the old pair")
        first, second = ours.of(InstallIpsecSa)
        check_kernel_keys(second, charon)
        assert [deleted.inbound_spi for deleted in ours.of(DeleteIpsecSa)] == [first.inbound.spi]
        assert list(ours.engine.table.pairs) == [second.inbound.spi]
        assert ours.of(Refused) == []


def test_charon_opens_a_second_isakmp_sa_beside_the_first(start):
    ours, charon = start(psk_config(SUITE), psk_connection(SUITE))
    with charon, ours:
        bring_up(ours, charon, we_initiate=True)
        charon.start_rekeying(child=False)
        # The initiator of a rekeying leaves it to the responder to end the older SA.
        ours.run_until(lambda: ours.states == ["IKE_P1_COMPLETE"] * 2, "second ISAKMP SA")
        (installed,) = ours.of(InstallIpsecSa)
        assert list(ours.engine.table.pairs) == [installed.inbound.spi]
        ours.run_until(charon.is_up, "child still there on charon's side")
        assert ours.of(Refused) == []


def test_we_ask_for_a_second_child_under_the_same_isakmp_sa(start):
    ours, charon = start(psk_config(SUITE), psk_connection(SUITE))
    with charon, ours:
        bring_up(ours, charon, we_initiate=True)
        ours.tell(SaRequested(ours.engine.config.flows[0]))
        # As responder, charon installs when our message 3 has come.
        ours.run_until(
            lambda: "CHILD_SA gre{2} established" in charon.log_file.read_text(), "second pair"
        )
        check_kernel_keys(ours.of(InstallIpsecSa)[1], charon)
        assert len(ours.states) == 1


def test_lost_messages_are_sent_again_by_charon(start):
    ours, charon = start(psk_config(SUITE), psk_connection(SUITE))
    with charon, ours:
        ours.deaf_to(1)
        charon.start_initiating()
        ours.run_until(charon.is_up, "child in spite of the loss")
        assert ours.of(Refused) == []


def test_a_repeated_message_gets_the_same_answer(start, segment):
    ours, charon = start(psk_config(SUITE), psk_connection(SUITE))
    with charon, ours:
        ours.mute_for(1)  # charon never sees our message 2 and repeats message 1
        charon.start_initiating()
        ours.run_until(charon.is_up, "child in spite of the loss")
        assert ours.of(Refused) == []
    first, second = [d.octets for d in segment.datagrams() if d.source[0] == THEIRS][:2]
    assert first == second
