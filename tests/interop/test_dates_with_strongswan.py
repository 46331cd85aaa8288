"""Certificates that are not valid now, from both ends, with strongSwan as the other one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.interop.suites import rsa_connection
from tests.interop.test_strongswan_main_mode import (  # noqa: F401  (start is a fixture)
    INNER_THEIRS,
    MODERN,
    rsa_config,
    start,
)

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
DATES = {
    "expired": (NOW - 30 * DAY, NOW - DAY),
    "not-yet-valid": (NOW + DAY, NOW + 30 * DAY),
}


@pytest.mark.parametrize("reason", sorted(DATES))
def test_we_refuse_charons_certificate_at_message_5(start, segment, pki, reason):  # noqa: F811
    segment.serve(pki.web)
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    pki.redate(hub, *DATES[reason])
    connection = rsa_connection(MODERN, pki, hub)
    router, charon = start(MODERN, rsa_config(MODERN), connection, pki=pki, leaf=leaf)
    charon.start_initiating()
    told = f"MM5 refused: {reason}"
    router.wait_for(lambda: any(told in r.comment for r in router.trace.records), "refusal by us")
    assert reason in router.console.exec("show crypto isakmp drops")
    assert not router.trace.esp and "ESTABLISHED" not in charon.list_sas()


@pytest.mark.parametrize("reason", sorted(DATES))
def test_we_refuse_charons_certificate_at_message_6(start, segment, pki, reason):  # noqa: F811
    segment.serve(pki.web)
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    pki.redate(hub, *DATES[reason])
    connection = rsa_connection(MODERN, pki, hub)
    router, _ = start(MODERN, rsa_config(MODERN), connection, pki=pki, leaf=leaf)
    router.send_through(INNER_THEIRS)
    told = f"MM6 refused: {reason}"
    router.wait_for(lambda: any(told in r.comment for r in router.trace.records), "refusal by us")
    assert not router.trace.esp


@pytest.mark.parametrize("reason", sorted(DATES))
def test_charon_refuses_ours(start, segment, pki, reason):  # noqa: F811
    segment.serve(pki.web)
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    pki.redate(leaf, *DATES[reason])
    connection = rsa_connection(MODERN, pki, hub)
    router, charon = start(MODERN, rsa_config(MODERN), connection, pki=pki, leaf=leaf)
    router.send_through(INNER_THEIRS)
    charon.wait_for(
        lambda: "subject certificate invalid" in charon.log_file.read_text(), "refusal by charon"
    )
    assert not router.trace.esp and not charon.is_up()
