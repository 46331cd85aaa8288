"""Responder: the hub calls, and we are not who it called; then we are.

    sudo ./netns/lab deploy first-tunnel-psk
    sudo ./netns/lab python netns/scripts/responder.py

The script has an address of its own on the lab's WAN, and gives the hub a tunnel to it.
"""

from ikelab.isakmp.events import InstallIpsecSa
from ikelab.runtime.control import ControlClient
from ikelab.runtime.nodespec import RUN_DIRECTORY
from ikelab.runtime.station import Station, knock
from ikelab.script import MM4, MM6, Peer

LAB, HUB, OURS = "first-tunnel-psk", "192.168.159.242", "192.168.159.66"
KEY = "of-the-hub-and-this-script"
TUNNEL = f"""
crypto keyring giraffe
 pre-shared-key address {OURS} key {KEY}
crypto isakmp profile peers
 match identity address {OURS} 255.255.255.255
interface Tunnel66
 ip address 20.0.66.1 255.255.255.0
 tunnel source {HUB}
 tunnel destination {OURS}
 tunnel protection ipsec profile DMVPN
"""


def answer(peer: Peer, title: str) -> None:
    """Wait for a packet of the hub to wake it, and for what comes of it."""
    knock(f"ikelab-{LAB}-hub", "20.0.66.2")
    here.serve(peer, until=lambda: bool(peer.of(InstallIpsecSa)), seconds=3.0)
    print(f"{title}\n  " + "\n  ".join(peer.story))


with (
    ControlClient(RUN_DIRECTORY / LAB / "hub.sock") as hub,
    Station(OURS, namespace=f"ikelab-{LAB}-spoke1", lodge=True) as here,
):
    hub.configure(TUNNEL.splitlines())

    impostor = here.peer(HUB, pre_shared_key=KEY)
    impostor.on(MM6).mutate(hash=bytes(32))
    answer(impostor, "A wrong HASH_R in message 6: the hub goes no further")
    assert "bad-hash" in hub.exec("show crypto isakmp drops")
    hub.exec("clear crypto isakmp")

    weak = here.peer(HUB, pre_shared_key=KEY)
    weak.on(MM4).mutate(ke=(1).to_bytes(256, "big"))
    answer(weak, "g^x = 1 in message 4: the hub makes no key of it")
    assert "bad-key-exchange" in hub.exec("show crypto isakmp drops")
    hub.exec("clear crypto isakmp")

    peer = here.peer(HUB, pre_shared_key=KEY)
    answer(peer, "As it should be")
    assert peer.of(InstallIpsecSa), "no tunnel"
    print(hub.exec("show crypto isakmp drops"))
    hub.exec("clear crypto isakmp")
    hub.configure(["no interface Tunnel66"])
