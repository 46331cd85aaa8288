"""Initiator with a certificate: the spoke's own, under a wrong name, without its key, and right.

    sudo ./netns/lab deploy first-tunnel
    sudo ./netns/lab python netns/scripts/initiator_certificates.py

Certificate and key are those that spoke1 has enrolled for; the hub checks them against the CRL.
"""

from dataclasses import replace

from ikelab.isakmp.events import InstallIpsecSa
from ikelab.runtime.control import ControlClient
from ikelab.runtime.keys import generate_rsa_key
from ikelab.runtime.nodespec import RUN_DIRECTORY
from ikelab.runtime.station import Station, identity_of
from ikelab.script import MM5, Identity, Peer
from ikelab.wire.numbers import IdType

LAB, HUB, SPOKE = "first-tunnel", "192.168.159.242", "192.168.159.250"


def drops() -> str:
    """What the hub has refused so far, and why."""
    with ControlClient(RUN_DIRECTORY / LAB / "hub.sock") as console:
        return console.exec("show crypto isakmp drops")


spoke1 = identity_of(LAB, "spoke1", "ra")
with Station(SPOKE, namespace=f"ikelab-{LAB}-spoke1", port=5500) as here:

    def speak(identity: Identity, title: str, lie: bytes = b"") -> Peer:
        """One main mode with the hub; a lie is an ID of ours, and we sign for it."""
        name = {"hostname": "spoke1.cisco.example", "identity_type": IdType.ID_FQDN}
        peer = here.peer(HUB, identity=identity, **name)
        if lie:
            peer.on(MM5).mutate(id=lie).prove()
        here.begin(peer)
        here.serve(peer, until=lambda: bool(peer.of(InstallIpsecSa)), seconds=2.0)
        print(f"{title}\n  " + "\n  ".join(peer.story))
        return peer

    speak(spoke1, "Under the hub's name", b"hub.cisco.example")
    assert "id-not-in-certificate" in drops()

    thief = replace(spoke1, key=generate_rsa_key(2048))
    speak(thief, "With the certificate, and the key of somebody else")
    assert "bad-signature" in drops()

    assert speak(spoke1, "With certificate, key and name").of(InstallIpsecSa), "no tunnel"
    print(drops())
