"""A node's part in an advance: the operations `turn` and `forget-clock` of a running CA."""

from __future__ import annotations

import asyncio

import pytest

from ikelab.errors import LabError
from ikelab.runtime.control import ControlClient, Json
from ikelab.runtime.routerd import RouterProcess
from tests.unit.test_routerd_web import running

HOUR = 3600.0


async def call(process: RouterProcess, op: str, **fields: Json) -> Json:
    """One operation through the control socket, as the lab asks."""

    def ask() -> Json:
        with ControlClient(process.spec.control_path) as client:
            return client.call(op, **fields)

    return await asyncio.to_thread(ask)


def test_a_ca_says_what_it_waits_for() -> None:
    async def use(process: RouterProcess, port: int) -> Json:
        return await call(process, "turn", patience=0)

    answer = running(use)
    assert isinstance(answer, dict)
    assert (answer["busy"], answer["unanswered"], answer["traffic"]) == (False, False, 0)
    match answer["due"], answer["routine"]:
        case [float(end), "root-ca: end of the CA certificate"], [float(crl), "root-ca: CRL"]:
            assert end > 300 * 24 * HOUR and 5 * HOUR < crl <= 7 * 24 * HOUR
        case other:
            pytest.fail(f"{other}")


def test_what_fell_due_while_time_was_moved_is_done_in_the_turn() -> None:
    async def use(process: RouterProcess, port: int) -> tuple[bytes, bytes]:
        server = process.router.servers["root-ca"]
        before = server.store.load_crl()
        process._clock.lab.advance(200 * HOUR)
        await call(process, "turn", patience=0)
        after = server.store.load_crl()
        assert before and after
        return before, after

    before, after = running(use)
    assert before != after


@pytest.mark.parametrize("patience", [-1, 11, "long", None])
def test_patience_has_bounds(patience: Json) -> None:
    async def use(process: RouterProcess, port: int) -> None:
        with pytest.raises(LabError, match="patience is 0 to 10 seconds"):
            await call(process, "turn", patience=patience)

    running(use)


def test_a_node_forgets_the_date_and_marks_it() -> None:
    async def use(process: RouterProcess, port: int) -> str:
        await call(process, "forget-clock", date="2002-02-01T06:20:00+00:00")
        return str(await call(process, "exec", command="show clock"))

    assert running(use).startswith("*06:20:0")


@pytest.mark.parametrize("date", ["yesterday", "2002-02-01T06:20:00", 7])
def test_a_date_without_a_zone_is_not_taken(date: Json) -> None:
    async def use(process: RouterProcess, port: int) -> None:
        with pytest.raises(LabError):
            await call(process, "forget-clock", date=date)

    running(use)


def test_clock_set_is_told_and_moves_no_elapsed_time() -> None:
    async def use(process: RouterProcess, port: int) -> tuple[str, float]:
        before = process._clock.elapsed()
        await call(process, "exec", command="clock set 14:58:59 2 april 2009")
        shown = str(await call(process, "exec", command="show clock"))
        return shown, process._clock.elapsed() - before

    shown, passed = running(use)
    assert shown.startswith("14:58:59.") or shown.startswith("14:59:0")
    assert shown.endswith("UTC Thu Apr 2 2009\n") and passed < 5
