"""`ikelab clock`: what the lab and its nodes take for the time, and moving it forward."""

from __future__ import annotations

import sys
import time
from datetime import datetime

import click
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from ikelab.errors import LabError
from ikelab.lab import report, state
from ikelab.lab.advance import Progress, advance
from ikelab.lab.dates import DATE_HINT, SPAN_HINT, format_span, parse_date, parse_span
from ikelab.runtime.clock import LabClock
from ikelab.runtime.control import ControlClient, Json
from ikelab.runtime.nodespec import CLOCK_FILE

_BAR = 1000  # parts of the bar: rich shows no finer ones


def show(lab: str, nodes: list[str], form: str) -> None:
    """The date of the lab, and of each node that has a console, in IOS's words."""
    clock = LabClock.open(state.run_dir(lab) / CLOCK_FILE)
    shown = {name: said for name in nodes if (said := _ask(lab, name))}
    date = f"{clock.date():%Y-%m-%dT%H:%M:%SZ}"
    if form == "json":
        ahead = round(clock.ahead)
        report.print_json(
            {"lab": lab, "date": date, "advanced": ahead, "nodes": dict(shown)}, sys.stdout
        )
        return
    console = report.stdout_console(sys.stdout)
    console.print(report.table(f"{lab}: {date}", ("node", "show clock"), list(shown.items())))
    if clock.ahead:
        console.print(f"advanced by {format_span(clock.ahead)} since it was deployed")


def _ask(lab: str, node: str) -> str:
    """What `show clock` prints; "" where there is no console."""
    try:
        with ControlClient(state.run_dir(lab) / f"{node}.sock") as client:
            return client.exec("show clock").strip()
    except LabError:
        return ""


def seconds_to_go(lab: str, span: str | None, to: str | None) -> float:
    """What the command line asks for, in seconds. Raises click.UsageError."""
    if (span is None) == (to is None):
        raise click.UsageError("either a span of time, such as 90d, or --to a date")
    if span is not None:
        seconds = parse_span(span)
        if seconds is None:
            raise click.UsageError(f"{span!r} is no span of time: {SPAN_HINT}")
        return seconds
    date = parse_date(to or "")
    if date is None:
        raise click.UsageError(f"{to!r} is no date: {DATE_HINT}")
    return _until(lab, date)


def _until(lab: str, date: datetime) -> float:
    now = LabClock.open(state.run_dir(lab) / CLOCK_FILE).date()
    if date <= now:
        raise click.UsageError(
            f"it is {now:%Y-%m-%dT%H:%M:%SZ} in {lab} already, and time does not go back"
            " (`clock set` at the console of a node sets its own clock)"
        )
    return (date - now).total_seconds()


def move(lab: str, seconds: float, grain: float | None, form: str) -> None:
    """Advance, with a bar and what happens on the way on standard error."""
    clock = LabClock.open(state.run_dir(lab) / CLOCK_FILE)
    before, started = clock.date(), time.monotonic()
    console = report.stdout_console(sys.stderr)
    columns = (TextColumn("{task.fields[date]}"), BarColumn(), TextColumn("{task.percentage:.0f}%"))
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=_BAR, date=f"{before:%Y-%m-%d %H:%M:%S}")

        def say(text: str) -> None:
            console.print(report.printable(text), markup=False, soft_wrap=True)

        def tell(progress: Progress) -> None:
            if progress.stop.why:
                say(f"{progress.date} {progress.stop.why}")
            for name in progress.busy:
                say(f"{progress.date} {name}: a transfer did not end")
            done = _BAR * (1 - progress.left / seconds)
            bar.update(task, completed=done, date=progress.date)

        stops = advance(lab, seconds, grain=grain, tell=tell)
    after, took = clock.date(), time.monotonic() - started
    if form == "json":
        fields: dict[str, Json] = {
            "lab": lab,
            "from": f"{before:%Y-%m-%dT%H:%M:%SZ}",
            "to": f"{after:%Y-%m-%dT%H:%M:%SZ}",
            "stops": stops,
            "seconds": round(took, 3),
        }
        report.print_json(fields, sys.stdout)
        return
    words = f"it is {after:%Y-%m-%d %H:%M:%S} in {lab}, {format_span(seconds)} later"
    click.echo(f"{words} ({stops} stops in {took:.1f} s)")
