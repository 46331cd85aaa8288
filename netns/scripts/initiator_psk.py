"""Initiator with a shared key: a wrong proof, a repeated message, a tunnel, a forged DELETE.

    sudo ./netns/lab deploy first-tunnel-psk
    sudo ./netns/lab python netns/scripts/initiator_psk.py

The other end is the lab's hub; --namespace, --local, --remote and --key name any other that stands
in a namespace called ikelab-... (the project's tests run this against strongSwan).
"""

from argparse import ArgumentParser

from ikelab.isakmp.events import InstallIpsecSa
from ikelab.runtime.station import Station
from ikelab.script import MM3, MM5, Peer
from ikelab.wire.numbers import ProtocolId
from ikelab.wire.payloads import DELETE

parser = ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--namespace", default="ikelab-first-tunnel-psk-spoke1")
parser.add_argument("--local", default="192.168.159.250")
parser.add_argument("--port", type=int, default=5500)  # 500 is the spoke's own
parser.add_argument("--remote", default="192.168.159.242")
parser.add_argument("--key", default="a-long-key-of-this-lab-only")
given = parser.parse_args()


def tell(title: str, peer: Peer) -> None:
    """What a peer sent, took and refused."""
    print(f"{title}\n  " + "\n  ".join(peer.story))


with Station(given.local, namespace=given.namespace, port=given.port) as here:
    # One payload is wrong, everything else is right.
    liar = here.peer(given.remote, pre_shared_key=given.key)
    liar.on(MM5).mutate(hash=bytes(32))
    here.begin(liar)
    here.serve(liar, until=lambda: liar.states == [], seconds=2.0)
    tell("A wrong HASH_I in message 5: nobody answers it", liar)

    # Take over before message 5, and ask for message 4 once more.
    peer = here.peer(given.remote, pre_shared_key=given.key)
    peer.on(MM5).keep()
    here.begin(peer)
    assert here.serve(peer, until=lambda: bool(peer.kept)), "no message 4"
    fourth = peer.received[-1]
    for _ in range(5):  # one that is still busy with the first may pass over the second
        here.send(peer.of_message(MM3)[0].datagram, peer.sa.remote)
        if here.serve(peer, until=lambda: peer.received.count(fourth) >= 2, seconds=0.5):
            break
    assert peer.received.count(fourth) >= 2, "no stored answer"

    # Then the engine does the rest by itself: message 5, and quick mode behind it.
    peer.release(peer.kept[0], here.now())
    came_up = here.serve(peer, until=lambda: bool(peer.of(InstallIpsecSa)))
    tell("Message 3 sent twice: the same message 4 comes twice; then the tunnel comes up", peer)
    assert came_up, "no tunnel"

    # With the keys of the SA any message can be forged; this one deletes the SA at the other end.
    sa = peer.sa
    gone = DELETE(protocol_id=ProtocolId.ISAKMP, spi_size=16, spis=[sa.cky_i + sa.cky_r])
    peer.send(peer.phase2([gone]))
    here.flush(peer)
    print(f"DELETE of {sa.cky_i.hex()} sealed and sent")
