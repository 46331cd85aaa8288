"""Who may begin: room for half-open SAs (hostile networks send many a message 1)."""

from __future__ import annotations

from ikelab.isakmp import faults
from ikelab.isakmp.context import Context
from ikelab.isakmp.events import Action
from ikelab.types import Endpoint

HALF_OPEN_IN_ALL = 256  # phases 1 that others began and have not finished
HALF_OPEN_OF_ADDRESS = 5  # of them from one address: strongSwan's number, too


def make_room(context: Context, remote: Endpoint) -> list[Action]:
    """Anybody may send message 1: the oldest half-open SAs give way, complete ones never do."""
    table = context.table
    half_open = [sa for sa in table.sas.values() if not sa.initiator and not sa.is_complete]
    same = [sa for sa in half_open if sa.remote.address == remote.address]
    actions: list[Action] = []
    for found, limit in ((same, HALF_OPEN_OF_ADDRESS), (half_open, HALF_OPEN_IN_ALL)):
        if len(found) >= limit:
            oldest = min(found, key=lambda sa: sa.created)
            error = faults.half_open_limit(len(found) + 1, limit)
            actions.append(context.refused(oldest.remote, 0, "MM1", error))
            actions += context.drop_sa(oldest, "half-open limit")
            half_open = [sa for sa in half_open if sa is not oldest]
    return actions
