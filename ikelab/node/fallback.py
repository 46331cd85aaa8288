"""`enrollment fallback`: while the CA of a trustpoint gives no answer, another trustpoint enrolls.

The other one is a trustpoint like any: somebody must have accepted its CA, or its fingerprint must
be configured. Until it is needed it only stands by, whatever its `auto-enroll` says; once it has a
certificate it renews it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ikelab.ios.config import RunningConfig
from ikelab.pki.config import TrustpointConfig
from ikelab.pki.enrollment_events import Authenticate, AuthenticationFailed, Enroll
from ikelab.pki.events import EnrollmentPending
from ikelab.pki.trustpoint import State, Trustpoint


def config_in_force(config: RunningConfig, point: Trustpoint) -> TrustpointConfig:
    """What a trustpoint goes by: without `auto-enroll` as long as it stands by."""
    wanted = config.trustpoints[point.config.name]
    stands_by = any(other.fallback == wanted.name for other in config.trustpoints.values())
    if stands_by and point.credential is None:
        return replace(wanted, auto_enroll=None)
    return wanted


def is_unanswered(point: Trustpoint, actions: Iterable[object]) -> bool:
    """Whether the CA gave no answer to what was last asked. actions: what that came to."""
    for action in actions:
        if isinstance(action, AuthenticationFailed) and action.reason == "no-answer":
            return True
        if isinstance(action, EnrollmentPending) and point.state is State.REQUEST_RETRY:
            return True
    return False


def first_step(point: Trustpoint) -> Authenticate | Enroll | None:
    """How a trustpoint that stands by begins; None if it has begun, is through or was refused."""
    if point.credential is not None:
        return None
    if point.state is State.READY:
        return Authenticate()
    return Enroll() if point.state is State.CA_AUTHENTICATED else None
