"""Speak IKEv1 message by message: the lab's own engine in a script's hands. Sans-IO.

A `Peer` is an initiator or responder that behaves; what it should do otherwise is said in a line:

    peer = Peer(settings(local, remote, pre_shared_key="cisco"), rng, keys)
    peer.on(MM5).mutate(hash=bytes(32))          # a wrong proof, everything else right
    peer.on(MM3).drop()                          # lost once, so that it must be sent again
    peer.on(QM1).edit(lambda message: message.payloads.reverse()).prove()
    peer.on_receipt(MM4).keep()                  # take over: what came is in peer.kept

`Message` and `Keys` read, build, seal and open any message with an SA's keys. `Seeded` makes every
run the same; `ikelab.runtime.station` gives a Peer a socket in a lab's namespace (and nowhere else)
and true randomness. Worked examples, one a role: `netns/scripts/`.
"""

from ikelab.script.hooks import Hook
from ikelab.script.identity import Identity, IdentityKeys
from ikelab.script.keys import Keys
from ikelab.script.message import Message
from ikelab.script.names import (
    AM1,
    AM2,
    AM3,
    INFO,
    MM1,
    MM2,
    MM3,
    MM4,
    MM5,
    MM6,
    QM1,
    QM2,
    QM3,
)
from ikelab.script.peer import Peer
from ikelab.script.seeded import Seeded
from ikelab.script.settings import settings

__all__ = [
    "AM1",
    "AM2",
    "AM3",
    "INFO",
    "MM1",
    "MM2",
    "MM3",
    "MM4",
    "MM5",
    "MM6",
    "QM1",
    "QM2",
    "QM3",
    "Hook",
    "Identity",
    "IdentityKeys",
    "Keys",
    "Message",
    "Peer",
    "Seeded",
    "settings",
]
