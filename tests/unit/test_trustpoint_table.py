"""Every row of the trustpoint's table is taken by some story."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from ikelab.pki.enrollment_events import Authenticate, Enroll
from ikelab.pki.events import NextCaMissing
from ikelab.pki.trustpoint import State, Trustpoint
from ikelab.pki.trustpoint_state import SUCCESSION, TABLE, Input
from tests.unit import succession_scene as generations
from tests.unit import test_succession as succession
from tests.unit import test_succession_same_key as same_key
from tests.unit import test_trustpoint as enrollment
from tests.unit import test_trustpoint_authentication as authentication
from tests.unit import test_trustpoint_renewal as renewal
from tests.unit.succession_scene import ca_of, go_to, manual_until_the_renewal, present, sleep_until
from tests.unit.trustpoint_scene import with_root, with_router


def test_every_row_of_an_enrollment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(TABLE) - set(SUCCESSION) - rows_taken(ENROLLMENT, monkeypatch) == set()


def test_every_row_of_a_succession_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(SUCCESSION) - rows_taken(GENERATIONS, monkeypatch) == set()


def rows_taken(
    stories: tuple[Callable[[], object], ...], monkeypatch: pytest.MonkeyPatch
) -> set[tuple[State, Input]]:
    taken: set[tuple[State, Input]] = set()
    plain = Trustpoint._input

    def watched(self: Trustpoint, happened: Input, now: object) -> object:
        taken.add((self.state, happened))
        return plain(self, happened, now)  # type: ignore[arg-type]

    monkeypatch.setattr(Trustpoint, "_input", watched)
    for story in stories:
        story()
    return taken


# --- enrollment -----------------------------------------------------------------------------------


def _impatient_operator() -> None:
    """`enroll` again while pending, while waiting to send, after a failure, when enrolled."""
    scene = with_root(grant="manual")
    trustpoint = with_router(scene, retry_count=1)
    scene.send("ra", Authenticate())
    scene.down.add("root-ca")
    scene.send("ra", Enroll())
    scene.send("ra", Enroll())
    scene.down.clear()
    scene.send("ra", Enroll())
    scene.send("ra", Enroll())
    scene.down.add("root-ca")
    scene.advance(seconds=61)  # a poll without an answer
    scene.advance(minutes=5)
    assert trustpoint.state is State.FAILED
    scene.down.clear()
    scene.send("ra", Enroll())
    scene.servers["root-ca"].grant(None, scene.now())
    scene.advance(minutes=5)
    assert trustpoint.state is State.ENROLLED
    scene.send("ra", Enroll())
    assert trustpoint.state is State.PENDING


def _ca_that_vanishes_between_two_questions() -> None:
    scene = with_root()
    trustpoint = with_router(scene)
    scene.tamper = lambda request, reply: (
        replace(reply, status=500) if "GetCACert" in request.url else reply
    )
    scene.send("ra", Authenticate())
    assert trustpoint.state is State.READY


ENROLLMENT: tuple[Callable[[], object], ...] = (
    _impatient_operator,
    _ca_that_vanishes_between_two_questions,
    authentication.test_a_ca_certificate_without_a_known_fingerprint_waits_for_somebody_to_look,
    authentication.test_a_ca_certificate_that_is_not_accepted_leaves_nothing,
    authentication.test_capabilities_stripped_on_the_way_do_not_talk_a_router_down,
    authentication.test_a_ca_that_is_not_up_yet_is_asked_again,
    authentication.test_a_wrong_fingerprint_is_refused_and_not_asked_about_again,
    enrollment.test_a_pending_request_is_polled_until_it_is_granted,
    enrollment.test_a_rejected_request_ends_the_enrollment,
    enrollment.test_a_lost_answer_is_asked_for_with_the_same_octets_and_gives_the_same_certificate,
    authentication.test_an_answer_signed_by_a_ca_of_the_same_name_is_not_taken,
    renewal.test_a_renewal_that_fails_leaves_the_old_certificate_in_use_and_is_tried_again,
)


# --- succession -----------------------------------------------------------------------------------


def _failed_when_only_the_next_ca_can_help() -> None:
    """Somebody types `enroll` for a certificate that ends with its CA, and is refused."""
    scene = generations.with_root(auto_rollover=None)
    point = generations.with_router(scene)
    scene.advance(days=349)
    scene.servers["root-ca"].config = replace(scene.servers["root-ca"].config, grant="manual")
    scene.send("ra", Enroll())
    scene.servers["root-ca"].reject(None)
    scene.advance(minutes=2)
    assert point.state is State.FAILED
    scene.down.add("root-ca")
    sleep_until(scene, scene.wall + timedelta(days=1))
    scene.advance(minutes=1)
    assert scene.told(NextCaMissing)


def _failed_across_the_swap() -> None:
    scene, point = manual_until_the_renewal()
    scene.servers["root-ca"].reject(None)
    scene.advance(minutes=2)
    assert point.state is State.FAILED
    end = present(scene).not_after
    sleep_until(scene, end - timedelta(minutes=20))
    scene.servers["root-ca"].config = replace(scene.servers["root-ca"].config, grant="auto")
    scene.tamper = lambda request, reply: (
        replace(reply, body=b"0\x00") if "PKIOperation" in request.url else reply
    )
    scene.advance(minutes=30)
    assert ca_of(point) == present(scene) and present(scene).not_before == end


def _user_enrolls_beside_a_held_certificate() -> None:
    """`enroll` typed while the next certificate waits: what comes of it meets the swap."""
    for deed in ("pending", "refused", "silent"):
        scene = generations.with_root()
        point = generations.with_router(scene)
        scene.advance(days=355)
        server = scene.servers["root-ca"]
        server.config = replace(server.config, grant="manual")
        go_to(scene, present(scene).not_after - timedelta(seconds=90))
        if deed == "silent":
            scene.down.add("root-ca")
        scene.send("ra", Enroll())
        if deed == "refused":
            server.reject(None)
        scene.advance(seconds=95)
        scene.down.clear()
        scene.advance(minutes=30)
        assert ca_of(point) == present(scene), deed


GENERATIONS: tuple[Callable[[], object], ...] = (
    succession.test_a_certificate_that_ends_with_its_ca_is_followed_by_one_of_the_next_ca,
    succession.test_a_next_ca_that_is_late_is_asked_for_again,
    succession.test_a_router_without_auto_enroll_goes_over_to_the_next_ca_and_must_be_enrolled,
    succession.test_a_ca_without_a_next_one_is_left_when_it_ends_and_accepted_anew_by_command,
    succession.test_a_rollover_request_that_is_granted_after_the_swap_is_installed_at_once,
    succession.test_a_ca_that_is_down_across_its_swap_gets_the_same_request_again,
    same_key.test_a_router_takes_the_new_certificate_of_the_same_ca_key,
    succession.test_a_router_that_gave_up_in_the_future_goes_on_in_the_present,
    succession.test_the_present_ca_announced_as_its_own_next_one_is_not_taken,
    _failed_when_only_the_next_ca_can_help,
    _failed_across_the_swap,
    succession.test_a_router_that_went_over_with_a_wrong_clock_comes_back_with_its_certificate,
    _user_enrolls_beside_a_held_certificate,
)
