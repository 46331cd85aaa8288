"""A certificate that must not count, at either end, refused at message 5 and at message 6.

strongSwan is the other end. Who shows the bad certificate and who begins are independent, so each
fault is seen four times: by us as responder and as initiator, and by charon as both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.interop.pki_files import IssuedCertificate, PkiFiles
from tests.interop.suites import rsa_connection
from tests.interop.test_strongswan_main_mode import (  # noqa: F401  (start is a fixture)
    INNER_THEIRS,
    MODERN,
    rsa_config,
    start,
)

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]

DAY = timedelta(days=1)

# fault -> what we call it, and what of charon's log says it
FAULTS = {
    "expired": ("expired", "subject certificate invalid"),
    "not-yet-valid": ("not-yet-valid", "subject certificate invalid"),
    "revoked": ("revoked", "certificate was revoked"),
    "of-an-impostors-ca": ("certificate-bad-signature", "no trusted RSA public key found"),
    "of-another-name": (
        "id-not-in-certificate",
        "no peer config found|'spoke1.example.net' does not match to 'nobody.example.net'",
    ),
}


@dataclass(frozen=True)
class Certificates:
    """Two good ones, and for each fault one of `spoke1` (ours) and one of `hub` (charon's)."""

    pki: PkiFiles
    impostor: PkiFiles
    good: dict[str, IssuedCertificate]
    bad: dict[tuple[str, str], IssuedCertificate]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    now = datetime.now(UTC)
    pki = PkiFiles(tmp_path_factory.mktemp("pki") / "files")
    impostor = PkiFiles(tmp_path_factory.mktemp("impostor") / "files")
    good = {name: pki.issue(name) for name in ("spoke1", "hub")}
    bad = {}
    for name in good:
        for fault in ("expired", "not-yet-valid", "revoked"):
            bad[name, fault] = pki.issue(f"{name}-{fault}", fqdn=good[name].fqdn)
        pki.redate(bad[name, "expired"], now - 30 * DAY, now - DAY)
        pki.redate(bad[name, "not-yet-valid"], now + DAY, now + 30 * DAY)
        pki.revoke(bad[name, "revoked"])
        # CAs of the same names, with keys of their own.
        bad[name, "of-an-impostors-ca"] = impostor.issue(name)
        bad[name, "of-another-name"] = good[name]
    return Certificates(pki, impostor, good, bad)


def configuration(key_label: str) -> str:
    return rsa_config(MODERN).replace("rsakeypair spoke1", f"rsakeypair {key_label}")


@pytest.mark.parametrize("message", ["MM5", "MM6"])
@pytest.mark.parametrize("fault", FAULTS)
def test_we_refuse_charons(start, segment, certificates, fault, message):  # noqa: F811
    segment.serve(certificates.pki.web)
    pki, leaf = certificates.pki, certificates.good["spoke1"]
    # charon confirms any identity that a name of its certificate fits, and sends the pattern.
    own_id = "*.example.net" if fault == "of-another-name" else ""
    connection = rsa_connection(MODERN, pki, certificates.bad["hub", fault], own_id=own_id)
    router, charon = start(MODERN, configuration("spoke1"), connection, pki=pki, leaf=leaf)
    if message == "MM5":
        charon.start_initiating()
    else:
        router.send_through(INNER_THEIRS)
    told = f"{message} refused: {FAULTS[fault][0]}"
    router.wait_for(lambda: any(told in r.comment for r in router.trace.records), "refusal by us")
    assert FAULTS[fault][0] in router.console.exec("show crypto isakmp drops")
    assert not router.trace.esp and not charon.is_up()


@pytest.mark.parametrize("message", ["MM5", "MM6"])
@pytest.mark.parametrize("fault", FAULTS)
def test_charon_refuses_ours(start, segment, certificates, fault, message):  # noqa: F811
    segment.serve(certificates.pki.web)
    leaf = certificates.bad["spoke1", fault]
    held_by = certificates.impostor if fault == "of-an-impostors-ca" else certificates.pki
    if fault == "of-an-impostors-ca" and message == "MM6":
        held_by = certificates.pki  # we must believe charon before we show our own
    peer_id = "nobody.example.net" if fault == "of-another-name" else ""
    connection = rsa_connection(MODERN, certificates.pki, certificates.good["hub"], peer_id=peer_id)
    router, charon = start(MODERN, configuration(leaf.name), connection, pki=held_by, leaf=leaf)
    if message == "MM5":
        router.send_through(INNER_THEIRS)
    else:
        charon.start_initiating()
    said = re.compile(FAULTS[fault][1])
    charon.wait_for(lambda: said.search(charon.log_file.read_text()) is not None, "its refusal")
    assert not router.trace.esp and not charon.is_up()
