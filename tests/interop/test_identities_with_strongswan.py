"""Every kind of identity that a certificate vouches for, shown by us to charon and by it to us."""

from __future__ import annotations

import pytest

from tests.interop.suites import OURS, THEIRS, rsa_connection
from tests.interop.test_strongswan_main_mode import (  # noqa: F401  (start is a fixture)
    INNER_THEIRS,
    MODERN,
    rsa_config,
    start,
)

pytestmark = [pytest.mark.interop, pytest.mark.needs_root]

# `crypto isakmp identity`, what charon then must see; charon's id, what we then must see
KINDS = {
    "address": ("address", OURS, THEIRS, f"address      : {THEIRS}"),
    "hostname": (
        "hostname",
        "spoke1.example.net",
        "hub.example.net",
        "FQDN name    : hub.example.net",
    ),
    "dn": ("dn", "O=ikelab, CN=spoke1", "", "type=9"),
    "mailbox": ("hostname", "spoke1.example.net", "hub@example.net", "hub@example.net"),
}


@pytest.mark.parametrize("we_initiate", [True, False], ids=["we-initiate", "charon-initiates"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_identity_is_compared_with_the_certificate(start, segment, pki, kind, we_initiate):  # noqa: F811
    segment.serve(pki.web)
    ours, charon_sees, own_id, we_see = KINDS[kind]
    leaf = pki.issue("spoke1", address=OURS)
    hub = pki.issue("hub", address=THEIRS, mailbox="hub@example.net")
    connection = rsa_connection(MODERN, pki, hub, own_id=own_id, peer_id=charon_sees)
    config = rsa_config(MODERN).replace("identity hostname", f"identity {ours}")
    router, charon = start(MODERN, config, connection, pki=pki, leaf=leaf)
    router.console.exec("debug crypto isakmp")
    if we_initiate:
        router.send_through(INNER_THEIRS)
    else:
        charon.start_initiating()
    charon.wait_for(charon.is_up, "child on charon's side")
    router.wait_for(lambda: len(router.trace.esp) == 2, "pair on our side")
    assert f"authentication of '{charon_sees}' with RSA" in charon.log_file.read_text()
    assert we_see in router.log
    assert "CERTFAIL" not in router.log  # it has its certificate, and no URL to ask anybody


@pytest.mark.parametrize("we_initiate", [True, False], ids=["we-initiate", "charon-initiates"])
def test_our_sub_ca_goes_along_where_charon_asks_for_the_root(start, segment, pki, we_initiate):  # noqa: F811
    segment.serve(pki.web)
    leaf, hub = pki.issue("spoke1"), pki.issue("hub")
    connection = rsa_connection(MODERN, pki, hub, authorities=(pki.root,))
    router, charon = start(MODERN, rsa_config(MODERN), connection, pki=pki, leaf=leaf)
    if we_initiate:
        router.send_through(INNER_THEIRS)
    else:
        charon.start_initiating()
    charon.wait_for(charon.is_up, "child on charon's side")
    said = charon.log_file.read_text()
    assert 'sending cert request for "O=ikelab, CN=root-ca"' in said
    assert 'sending cert request for "O=ikelab, CN=ra-subca"' not in said
    assert 'received issuer cert "O=ikelab, CN=ra-subca"' in said
