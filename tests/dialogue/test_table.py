"""Every row of the tables is reached through `handle()`, and the drawn tables are current."""

from pathlib import Path

import ikelab.isakmp
from ikelab.isakmp.diagram import document
from ikelab.isakmp.events import Clear, Transition
from ikelab.isakmp.state import (
    AGGRESSIVE_MODE,
    MAIN_MODE,
    QUICK_MODE_INITIATOR,
    QUICK_MODE_RESPONDER,
)
from tests.dialogue import test_aggressive_mode
from tests.dialogue.playbook import I_END, MODERN, PSK, R_END, Pair, config


def taken(pair):
    """(old state, major, minor, new state) of all transitions of both sides."""
    return {
        (t.old_state, t.major, t.minor, t.new_state)
        for side in (pair.i, pair.r)
        for t in side.of(Transition)
    }


def carried(pair, count):
    pair.request()
    for _ in range(count):
        pair.deliver(pair.i if pair.i.outbox else pair.r)
    return pair


def undisturbed():
    pair = Pair()
    pair.establish()
    pair.give(pair.i, Clear())
    pair.run()
    return pair


def refused_at_message_1():
    pair = Pair(
        config("spoke1", I_END, R_END, policies=(MODERN,)),
        config("hub", R_END, I_END, policies=(PSK,)),
    )
    pair.establish()
    return pair


def refused_at_message_2():
    pair = carried(Pair(), 1)
    octets = pair.r.outbox.pop().octets
    sha2_512 = octets.replace(bytes.fromhex("80020004"), bytes.fromhex("80020006"))
    assert sha2_512 != octets
    pair.hand_over(pair.r, sha2_512)
    return pair


def refused_at(number):
    """Message 3 or 4 with a public value of one."""
    pair = carried(Pair(), number - 1)
    sender = pair.i if pair.i.outbox else pair.r
    pair.deliver(sender, lambda octets: octets[:32] + bytes(255) + b"\1" + octets[288:])
    return pair


def refused_certificate(side):
    pair = Pair()
    getattr(pair, side).refuse_cert = ("revoked", "")
    pair.establish()
    return pair


def aggressive():
    """Undisturbed; refused at message 1; with the certificate of either side revoked."""
    yield test_aggressive_mode.pair_of(PSK)
    yield Pair(
        test_aggressive_mode.spoke(policies=(MODERN,)), test_aggressive_mode.hub(policies=(PSK,))
    )
    for side in ("i", "r"):
        pair = test_aggressive_mode.pair_of(MODERN)
        getattr(pair, side).refuse_cert = ("revoked", "")
        yield pair


def established(pair):
    pair.establish()
    return pair


def test_every_row_is_reached_through_handle():
    seen = set()
    for pair in (
        undisturbed(),
        refused_at_message_1(),
        refused_at_message_2(),
        refused_at(3),
        refused_at(4),
        refused_certificate("i"),
        refused_certificate("r"),
        *map(established, aggressive()),
    ):
        seen |= taken(pair)
    wanted = {
        (state.value, major.value, minor.value, row.new_state.value)
        for table in (MAIN_MODE, AGGRESSIVE_MODE, QUICK_MODE_INITIATOR, QUICK_MODE_RESPONDER)
        for (state, (major, minor)), row in table.items()
    }
    assert wanted - seen == set()
    assert seen - wanted == set(), "a transition that no row has"


def test_the_drawn_tables_are_current():
    drawn = Path(ikelab.isakmp.__file__).with_name("STATES.md").read_text()
    assert drawn == document(), "run: python -m ikelab.isakmp.diagram > ikelab/isakmp/STATES.md"
