"""A registration authority on virtual time: it decides, the CA signs, the router fetches it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ikelab.errors import ConfigError, PkiError
from ikelab.ios.config_text import format_config, parse_config
from ikelab.node.console import Console
from ikelab.node.flows import find_faults
from ikelab.pki.ca_events import (
    HttpIn,
    RequestAuthorized,
    RequestGranted,
    RequestQueued,
    RequestRefused,
)
from ikelab.pki.events import CertificateInstalled, EnrollmentFailed
from ikelab.pki.scep import read_certificates
from ikelab.pki.store import RequestKind, RequestState
from ikelab.pki.x509 import fingerprint, format_name, load_certificate
from tests.simnet.first_tunnel import trust
from tests.simnet.labs import LABS, boot_lab, configure, issuer_of, tunnel_comes_up
from tests.simnet.network import Simnet, SimNode

LAB = "registration-authority"
MINUTE = 60.0


class Scene:
    """The shipped lab; the RA is enrolled, the routers have sent their requests to it."""

    def __init__(self, *routers: str, ca_grant: str = "ra-auto", ra_grant: str = "manual") -> None:
        self.net = boot_lab(LAB, "root-ca", "reg-auth", *routers)
        self.ca, self.ra = self.net.nodes["root-ca"], self.net.nodes["reg-auth"]
        self._set_grant(self.ca, ca_grant)
        self._set_grant(self.ra, ra_grant)
        trust(self.net, "reg-auth", "reg-auth", "root-ca")
        self.net.do(self.ra, self.ra.router.authenticate("reg-auth", self.net.now))
        self.net.run(1)
        self.type(self.ca, "crypto pki server root-ca grant all")
        self.net.do(self.ra, self.ra.router.enroll("reg-auth", self.net.now))
        self.net.run(1)
        for name in routers:
            self.enroll(name)

    def _set_grant(self, node: SimNode, grant: str) -> None:
        servers = node.router.config.servers.items()
        configure(
            self.net, node, servers={name: replace(each, grant=grant) for name, each in servers}
        )

    def enroll(self, name: str) -> SimNode:
        """The router knows the CA by its fingerprint and asks the RA for a certificate."""
        authority = self.ca.router.servers["root-ca"].store.load_authority()
        node = self.net.nodes[name]
        points = node.router.config.trustpoints
        digest = fingerprint(authority.certificate, "sha256")
        configure(self.net, node, trustpoints={"ra": replace(points["ra"], fingerprint=digest)})
        self.net.run(1)
        return node

    def type(self, node: SimNode, command: str) -> str:
        answer = Console(node.router, lambda: []).exec(command, self.net.now)
        self.net.do(node, answer.actions)
        self.net.run(1)
        return answer.text

    def states(self, node: SimNode) -> list[str]:
        [server] = node.router.servers.values()
        return [f"{row.kind.name} {row.state.value}" for row in server.requests()]


def is_enrolled(node: SimNode) -> bool:
    return bool(node.of(CertificateInstalled))


def test_the_ra_is_certified_by_a_persons_word_whatever_the_ca_grants_unasked():
    for policy in ("manual", "ra-auto", "auto"):
        scene = Scene(ca_grant=policy)
        [queued] = scene.ca.of(RequestQueued)
        assert queued.kind is RequestKind.RA and "ou=ioscs RA" in queued.subject
        assert scene.states(scene.ca) == ["RA granted"]


def test_what_the_ra_grants_is_signed_by_the_ca_and_fetched_at_the_ra():
    scene = Scene("hub", "spoke1")
    hub, spoke = scene.net.nodes["hub"], scene.net.nodes["spoke1"]
    assert scene.states(scene.ra) == ["ROUTER pending", "ROUTER pending"]
    assert scene.states(scene.ca) == ["RA granted"], "the CA has not heard of them"

    scene.type(scene.ra, "crypto pki server reg-auth grant all")
    assert scene.states(scene.ra) == ["ROUTER granted", "ROUTER granted"]
    assert scene.states(scene.ca) == ["RA granted", "ROUTER granted", "ROUTER granted"]
    scene.net.run(MINUTE)
    assert is_enrolled(hub) and is_enrolled(spoke)
    assert format_name(issuer_of(hub, "ra")) == "cn=root-ca"
    assert tunnel_comes_up(scene.net, spoke, hub)


def test_routers_never_speak_to_the_ca():
    scene = Scene("hub")
    served = []
    serve = scene.ca.router.serve
    scene.ca.router.serve = lambda request, now: served.append(request) or serve(request, now)
    scene.type(scene.ra, "crypto pki server reg-auth grant all")
    scene.net.run(MINUTE)
    assert is_enrolled(scene.net.nodes["hub"])
    assert len(served) == 1, "what the RA has forwarded"


def test_get_ca_cert_gives_the_ca_and_the_ra():
    scene = Scene()
    asked = HttpIn("GET", "/cgi-bin/pkiclient.exe?operation=GetCACert&message=x")
    answer, _ = scene.ra.router.serve(asked, scene.net.now)
    assert answer.content_type == "application/x-x509-ca-ra-cert"
    found = [load_certificate(der) for der in read_certificates(answer.body)]
    assert {(format_name(one.subject), one.is_ca) for one in found} == {
        ("cn=root-ca", True),
        ("hostname=reg-auth.cisco.example,cn=reg-auth,ou=ioscs RA", False),
    }


def test_with_grant_auto_at_both_nobody_needs_to_be_there():
    scene = Scene("hub", ca_grant="ra-auto", ra_grant="auto")
    scene.net.run(MINUTE)
    assert is_enrolled(scene.net.nodes["hub"])
    assert len(scene.ra.of(RequestAuthorized)) == 1


def test_a_ca_that_grants_by_hand_is_asked_again_until_it_has():
    scene = Scene("hub", ca_grant="manual", ra_grant="auto")
    assert scene.states(scene.ra) == ["ROUTER authorized"]
    assert scene.states(scene.ca) == ["RA granted", "ROUTER pending"]
    scene.net.run(3 * MINUTE)
    assert scene.states(scene.ca) == ["RA granted", "ROUTER pending"], "polled, not asked anew"
    scene.type(scene.ca, "crypto pki server root-ca grant all")
    scene.net.run(2 * MINUTE)
    assert is_enrolled(scene.net.nodes["hub"])


def test_what_the_ra_rejects_the_ca_never_hears_of():
    scene = Scene("hub")
    scene.type(scene.ra, "crypto pki server reg-auth reject 1")
    scene.net.run(MINUTE)
    [failed] = scene.net.nodes["hub"].of(EnrollmentFailed)
    assert failed.rejected and scene.states(scene.ca) == ["RA granted"]


def test_what_the_ca_rejects_the_router_is_told():
    scene = Scene("hub", ca_grant="manual", ra_grant="auto")
    scene.type(scene.ca, "crypto pki server root-ca reject 2")
    scene.net.run(3 * MINUTE)
    [failed] = scene.net.nodes["hub"].of(EnrollmentFailed)
    assert failed.rejected and scene.states(scene.ra) == ["ROUTER rejected"]


def test_a_ca_that_is_away_gets_the_request_when_it_is_back():
    scene = Scene("hub")
    away = scene.net.nodes.pop("root-ca")
    scene.type(scene.ra, "crypto pki server reg-auth grant all")
    scene.net.run(2.5 * MINUTE)
    refused = [notice.reason for notice in scene.ra.of(RequestRefused)]
    assert refused and set(refused) == {"no-answer"}
    assert scene.states(scene.ra) == ["ROUTER authorized"]
    scene.net.nodes["root-ca"] = away
    scene.net.run(2 * MINUTE)
    assert is_enrolled(scene.net.nodes["hub"])


def test_an_ra_that_starts_again_asks_for_the_same_certificate():
    scene = Scene("hub")
    answers, lost = scene.net._answer, []

    def lose_once(request):
        reply = answers(request)
        if request.url.startswith("http://10.254.0.14") and not lost:
            lost.append(reply)
            return replace(reply, handle="to nobody")
        return reply

    scene.net._answer = lose_once
    scene.type(scene.ra, "crypto pki server reg-auth grant all")
    assert lost and scene.states(scene.ra) == ["ROUTER authorized"]
    server = scene.ra.router.servers["reg-auth"]
    again = type(server)(server.config, server.store, server._rng, server._keys, server._upstream)
    scene.ra.router.servers["reg-auth"] = scene.ra.router.queues["reg-auth"].server = again
    scene.net.do(scene.ra, again.no_shut(scene.net.now))
    scene.net.run(MINUTE)
    assert is_enrolled(scene.net.nodes["hub"])
    assert len([row for row in scene.ca.of(RequestGranted) if "hub" in row.subject]) == 1


def test_a_router_renews_through_the_ra():
    scene = Scene("hub", ra_grant="auto")
    scene.net.run(timedelta(days=130).total_seconds())  # 70 % of 180 days are 126
    installed = scene.net.nodes["hub"].of(CertificateInstalled)
    assert len(installed) == 2 and installed[0].serial != installed[1].serial


def test_a_revoked_ra_is_believed_no_more():
    scene = Scene("hub")
    held = scene.ra.router.trustpoints["reg-auth"].credential
    serial = load_certificate(held.certificate).serial
    scene.type(scene.ca, f"crypto pki server root-ca revoke 0x{serial:X}")
    scene.type(scene.ra, "crypto pki server reg-auth grant all")
    scene.net.run(2 * MINUTE)
    assert not is_enrolled(scene.net.nodes["hub"])
    assert scene.states(scene.ca) == ["RA granted"]
    assert scene.ca.of(RequestRefused)[-1].reason == "renewal-revoked"


def test_a_router_cannot_make_itself_an_ra_through_the_ra():
    scene = Scene("hub", "spoke1", ra_grant="auto")
    spoke = scene.net.nodes["spoke1"]
    points = spoke.router.config.trustpoints
    named = replace(points["ra"], subject_name="ou=ioscs RA")
    configure(scene.net, spoke, trustpoints={"ra": named})
    scene.net.do(spoke, spoke.router.enroll("ra", scene.net.now))
    scene.net.run(1)
    assert scene.ra.of(RequestRefused)[-1].reason == "not-for-an-ra"
    assert scene.states(scene.ca)[0] == "RA granted" and len(scene.ca.of(RequestQueued)) == 1


def test_a_routers_certificate_is_no_license_to_ask_for_others():
    """Signed by a certificate of the CA's own, for another key: only an RA may do that."""
    scene = Scene("hub", ra_grant="auto")
    scene.net.run(MINUTE)
    hub = scene.net.nodes["hub"].router
    server = scene.ra.router.servers["reg-auth"]
    held = hub.trustpoints["ra"].credential
    authority = replace(
        server.store.load_authority(),
        key=hub.nvram.load_key(held.key_label),
        certificate=held.certificate,
    )
    server._take(authority)  # an RA that has only the certificate of a router
    scene.net.add(
        parse_config((LABS / LAB / "configs" / "spoke1.cfg").read_text(), file="spoke1.cfg")
    )
    server.store.save_authority(authority, [])
    spoke = scene.enroll("spoke1")
    scene.net.run(2 * MINUTE)
    assert not is_enrolled(spoke)
    reasons = {notice.reason for notice in scene.ca.of(RequestRefused)}
    assert reasons == {"renewal-changed"}


def test_the_consoles_say_who_is_what():
    scene = Scene("hub")
    shown = scene.type(scene.ra, "show crypto pki server")
    assert "Server configured in RA mode" in shown and "RA cert fingerprint: " in shown
    assert "Issuer name: cn=root-ca" in shown and "CRL" not in shown
    root = scene.type(scene.ca, "show crypto pki server")
    own = next(line for line in root.splitlines() if "CA cert fingerprint" in line)
    assert own in shown.splitlines()
    listed = scene.type(scene.ca, "crypto pki server root-ca info requests")
    section = listed.split("RA certificate requests:")[1].split("Router certificates requests:")[0]
    assert "granted" in section and "ou=ioscs RA" in section


def test_what_only_a_ca_can_do_is_refused():
    scene = Scene()
    server = scene.ra.router.servers["reg-auth"]
    with pytest.raises(PkiError, match="is an RA: revoke at its CA"):
        server.revoke(2, scene.net.now)
    with pytest.raises(PkiError, match="is an RA: paste the request at its CA"):
        server.paste_request(b"", "pem", scene.net.now)


def test_an_ra_without_the_name_of_one_is_told_before_it_starts():
    text = (LABS / LAB / "configs" / "reg-auth.cfg").read_text()
    config = parse_config(text.replace(",ou=ioscs RA", ""), file="reg-auth.cfg")
    assert any("cn=ioscs RA or ou=ioscs RA" in fault for fault in find_faults(config))
    with pytest.raises(ConfigError, match="mode ra"):
        Simnet().add(config)


@pytest.mark.parametrize("name", ["root-ca", "reg-auth"])
def test_the_lines_are_in_the_running_config(name):
    config = parse_config((LABS / LAB / "configs" / f"{name}.cfg").read_text(), file=name)
    wanted = " grant ra-auto\n" if name == "root-ca" else " mode ra\n"
    assert wanted in format_config(config)
    assert parse_config(format_config(config), file="again") == config


def test_an_unanswered_request_is_no_others():
    """States of a request at an RA: each change happens once."""
    scene = Scene("hub")
    store = scene.ra.router.servers["reg-auth"].store
    [row] = store.requests()
    assert store.authorize_request(row.number) and not store.authorize_request(row.number)
    assert not store.reject_request(row.number)
    assert store.reject_request(row.number, RequestState.AUTHORIZED)
    assert store.authorized_requests() == ()
