"""The command `ikelab`: deploy a lab, look at it, try it, remove it.

Data goes to standard output, progress to standard error. Exit codes: 0 all is well, 1 a check
failed, 2 a mistake in the command line or in a file, 3 the machine does not allow it, 130 Ctrl-C.
Every option can be given as IKELAB_COMMAND_OPTION in the environment. IKELAB_STARTED_AS is what the
user typed for `ikelab`, as netns/lab sets it: messages name commands by it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import click

from ikelab.errors import ConfigError, LabError
from ikelab.lab import find, state
from ikelab.lab.deployed import (
    deployed_lab,
    inspect_lab,
    lab_rows,
    listed,
    node_row,
    nodes_of,
    topology_of,
)
from ikelab.lab.topology import Topology, load
from ikelab.runtime.control import Json

OK, CHECK_FAILED, USAGE, ENVIRONMENT = 0, 1, 2, 3
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

F = TypeVar("F", bound=Callable[..., Any])


def _format_option(command: F) -> F:
    """`--format`, for every command that prints data."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        envvar="IKELAB_FORMAT",
        help="How to print.",
    )(command)


def _lab_option(command: F) -> F:
    """`--lab`, for commands on one node."""
    return click.option(
        "-l", "--lab", envvar="IKELAB_LAB", help="Which deployed lab; needed if there are several."
    )(command)


@click.group(
    context_settings={
        "auto_envvar_prefix": "IKELAB",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    }
)
@click.version_option(package_name="ikelab", prog_name="ikelab")
def cli() -> None:
    """Labs of IKEv1 routers and certificate servers in network namespaces.

    LAB is the name of a lab that comes with the project (see `list`), the path of a folder
    with a lab.yaml, or nothing: the current directory.
    """


@cli.command()
@click.argument("lab", required=False)
@click.option("--dry-run", is_flag=True, help="Print what would be made; needs no root.")
@click.pass_context
def deploy(context: click.Context, lab: str | None, dry_run: bool) -> None:
    """Make a lab, start its nodes, enroll those that `trust:` names.

    The lab stays until `destroy`.
    """
    topology = load(find.find(lab, Path.cwd()))
    _warn(topology)
    if dry_run:
        from ikelab.lab.plan import format_plan, make_plan

        click.echo(format_plan(make_plan(topology)), nl=False)
        return
    from ikelab.lab import lifecycle
    from ikelab.lab.steps import establish_trust

    with lifecycle.deployed(topology, _progress):
        failure: LabError | ConfigError | None = None
        try:
            for trust in topology.trust:
                _progress(establish_trust(topology, trust))
        except (LabError, ConfigError) as error:
            failure = error
    if failure is not None:
        tell(f"{failure}\nThe lab stays deployed, to be looked at.")
        context.exit(CHECK_FAILED)
    _progress(f"`ikelab inspect {topology.name}` shows it, `ikelab destroy` removes it")


@cli.command()
@click.argument("lab", required=False)
@click.option("--all", "everything", is_flag=True, help="All labs, and what crashed ones left.")
def destroy(lab: str | None, everything: bool) -> None:
    """Stop a lab and remove all that it made. May be repeated."""
    from ikelab.lab import lifecycle

    if everything and lab is not None:
        raise click.UsageError("either a LAB or --all")
    lifecycle.check_rights()
    names: tuple[str, ...] = ()
    if everything:
        names = lifecycle.everything()
    elif lab is not None or state.labs():
        names = (deployed_lab(lab, must_run=False),)
    if not names:
        _progress("there is nothing to remove")
    for name in names:
        if lifecycle.destroy(name):
            _progress(f"{name} is removed")
        else:
            others = ", ".join(state.labs())
            _progress(f"{name} was not there" + (f" (deployed: {others})" if others else ""))


@cli.command()
@click.argument("lab", required=False)
@click.option("--keep", is_flag=True, help="Leave the lab deployed.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for the capture.  [default: captures/LAB/latest]",
)
@click.option("--record", is_flag=True, help="Write the reference capture, captures/LAB.")
@_format_option
@click.pass_context
def run(
    context: click.Context, lab: str | None, keep: bool, out: Path | None, record: bool, form: str
) -> None:
    """Deploy a lab, carry out its checks, write its capture, remove it."""
    from ikelab.lab import report
    from ikelab.lab.rehearsal import rehearse

    if record and out is not None:
        raise click.UsageError("either --out or --record")

    folder = find.find(lab, Path.cwd())
    topology = load(folder)
    where = out or find.default_out(folder, Path.cwd(), topology.name)
    where = where.parent if record else where
    summary = rehearse(topology, where, keep=keep, progress=_progress)
    if record:
        from ikelab.lab.record import Owner
        from ikelab.lab.reference import write_index

        write_index(where.parent, Owner.calling(os.environ))
    if form == "json":
        report.print_json(report.summary_json(summary), sys.stdout)
    else:
        report.print_summary(summary, report.stdout_console(sys.stdout))
    context.exit(OK if summary.passed else CHECK_FAILED)


@cli.command()
@_format_option
@click.pass_context
def doctor(context: click.Context, form: str) -> None:
    """Say what this machine can do, and what to do about the rest."""
    from ikelab.lab import doctor as physician
    from ikelab.lab import report

    findings = physician.examine()
    if form == "json":
        click.echo(physician.as_json(findings))
    else:
        console = report.stdout_console(sys.stdout)
        rows = [
            (found.mark, found.name, found.detail, typeable(found.remedy)) for found in findings
        ]
        console.print(report.table("This machine", ("", "what", "found", "what to do"), rows))
        able = physician.is_able(findings)
        console.print("Labs can run here." if able else "Labs cannot run here yet.")
    context.exit(OK if physician.is_able(findings) else ENVIRONMENT)


@cli.command()
@click.argument("lab", required=False)
@_format_option
def inspect(lab: str | None, form: str) -> None:
    """Show the nodes of a deployed lab: whether they run, where they stand, what they reached."""
    from ikelab.lab import lifecycle, report

    lifecycle.check_rights()
    name = deployed_lab(lab)
    found = inspect_lab(name)
    if form == "json":
        report.print_json(found, sys.stdout)
        return
    console = report.stdout_console(sys.stdout)
    columns = ("node", "kind", "state", "pid", "namespace", "addresses", "reached")
    console.print(report.table(name, columns, [node_row(node) for node in listed(found, "nodes")]))
    for fault in listed(found, "faults"):
        click.secho(f"% {report.printable(str(fault))}", fg="red", err=True)


@cli.command("exec", context_settings={"ignore_unknown_options": True})
@_lab_option
@_format_option
@click.argument("node")
@click.argument("command", nargs=-1, required=True)
def execute(lab: str | None, form: str, node: str, command: tuple[str, ...]) -> None:
    """Give one COMMAND at the console of NODE and print what it shows.

    Example: exec hub show crypto isakmp sa
    """
    from ikelab.lab import console_command, lifecycle

    lifecycle.check_rights()
    console_command.execute(deployed_lab(lab), node, " ".join(command), form)


@cli.command(context_settings={"ignore_unknown_options": True})
@_lab_option
@click.argument("node")
@click.argument("lines", nargs=-1, metavar="[LINE]...")
def configure(lab: str | None, node: str, lines: tuple[str, ...]) -> None:
    """Put LINEs of the configuration mode of NODE into force, or those of standard input.

    All of them are taken, or none. Example: configure hub "interface Tunnel1" "shutdown"
    """
    from ikelab.lab import console_command, lifecycle

    lifecycle.check_rights()
    name = deployed_lab(lab)
    console_command.configure(name, node, lines or sys.stdin.read().splitlines())


@cli.group()
def clock() -> None:
    """The time of a deployed lab: show it, move it forward."""


@clock.command("show")
@_lab_option
@_format_option
def clock_show(lab: str | None, form: str) -> None:
    """Show the date of the lab, and what each node takes for it."""
    from ikelab.lab import clock_command, lifecycle

    lifecycle.check_rights()
    name = deployed_lab(lab)
    clock_command.show(name, nodes_of(name), form)


@clock.command("advance")
@_lab_option
@_format_option
@click.option("--to", metavar="DATE", help="Until this date of the lab, as 2009-04-02T14:58:59Z.")
@click.option(
    "--grain",
    metavar="SPAN",
    help="How often to do what recurs for ever (CRLs, keepalives, NTP, rekeying); 0s: each time."
    "  [default: the thousandth part]",
)
@click.argument("span", required=False)
def clock_advance(
    lab: str | None, form: str, to: str | None, grain: str | None, span: str | None
) -> None:
    """Move all clocks of a lab forward by SPAN, doing all that is due on the way.

    SPAN is written 90d, 12h, 30m, 45s or 1d12h. Renewals, rollovers and the ends of certificates
    come in their order. Ctrl-C leaves all clocks at the same point.
    """
    from ikelab.lab import clock_command, lifecycle
    from ikelab.lab.dates import parse_span

    lifecycle.check_rights()
    name = deployed_lab(lab)
    seconds = clock_command.seconds_to_go(name, span, to)
    fine = None if grain is None else parse_span(grain)
    if grain is not None and fine is None and grain not in ("0", "0s"):
        raise click.UsageError(f"--grain takes a span of time, such as 6h, not {grain!r}")
    clock_command.move(name, seconds, None if grain is None else float(fine or 0), form)


@cli.command()
@_lab_option
@_format_option
@click.option("--capture", type=click.Path(exists=True, path_type=Path), help="Of a capture.")
@click.argument("words", nargs=-1, metavar="NODE [PEER] | signature FRAME [CAPTURE]")
def explain(lab: str | None, form: str, capture: Path | None, words: tuple[str, ...]) -> None:
    """Say why the last negotiation of NODE (with PEER) was refused, and what would mend it.

    Of the deployed lab, or of the capture that was written last. With `signature`, print the hash,
    the padded and the recovered block of the SIG in a frame.
    """
    from ikelab.lab import explain_command as command

    command.explain(words, capture, form, lambda: deployed_lab(lab))


@cli.command()
@_lab_option
@_format_option
@click.option("--list", "listing", is_flag=True, help="Show all attacks; needs no lab.")
@click.option("--node", help="The router to attack.  [default: hub, or the first with a tunnel]")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory for the capture.  [default: captures/LAB/attack-NAME]",
)
@click.argument("name", required=False)
@click.pass_context
def attack(
    context: click.Context,
    name: str | None,
    lab: str | None,
    form: str,
    listing: bool,
    node: str | None,
    out: Path | None,
) -> None:
    """Play the hostile case NAME against a router of a deployed lab, from inside the lab.

    Prints each shot with the answer and what the router has recorded, then whether the honest
    tunnel still works, the counters that rose, and where the capture is.
    """
    from ikelab.lab import attack_command, lifecycle

    if listing:
        return attack_command.show_cases(form)
    if name is None:
        raise click.UsageError("which attack? --list shows them")
    case = attack_command.find_case(name)
    lifecycle.check_rights()
    topology = topology_of(deployed_lab(lab))
    folder = find.default_out(topology.folder, Path.cwd(), topology.name)
    where = out or folder.with_name(f"attack-{case.name}")
    passed = attack_command.attack(case, topology, node, where, form)
    context.exit(OK if passed else CHECK_FAILED)


@cli.command("crl-growth")
@click.option(
    "--revoked",
    default="0,1,10,100,1000,2000,5000,10000",
    show_default=True,
    help="Revoked certificates in the whole network, a row each.",
)
@click.option("--cas", default="1,2,4", show_default=True, help="CAs that issue, a column each.")
@click.option("--legacy", is_flag=True, help="As in 2009: RSA 1024, MD5, CRLs of version 1.")
@_format_option
def crl_growth(revoked: str, cas: str, legacy: bool, form: str) -> None:
    """Show how large the CRLs of a network become, with one CA or several.

    Each size is that of a CRL that a certificate server has signed. Needs no root and no lab.
    """
    from ikelab.lab import crl_growth as growth
    from ikelab.lab import report

    totals = _numbers("--revoked", revoked, 0, growth.MOST_REVOKED)
    counts = _numbers("--cas", cas, 1, growth.MOST_REVOKED)
    rows = growth.measure(totals, counts, legacy=legacy)
    most = growth.fitting(counts, legacy=legacy)
    if form == "json":
        cache: dict[str, Json] = {"octets": growth.CACHE_OCTETS, "revoked": list(most)}
        sizes: list[Json] = [{"revoked": row.revoked, "octets": list(row.sizes)} for row in rows]
        report.print_json({"cas": list(counts), "crls": sizes, "cache": cache}, sys.stdout)
        return
    columns = ("revoked", *("1 CA" if count == 1 else f"each of {count}" for count in counts))
    cells = [tuple(map(str, (row.revoked, *row.sizes))) for row in rows]
    console = report.stdout_console(sys.stdout)
    console.print(report.table("Octets of a CA's CRL", columns, cells))
    fits = ", ".join(f"{bears} with {count}" for count, bears in zip(counts, most, strict=True))
    console.print(f"A router takes {growth.CACHE_OCTETS} octets: {fits}", soft_wrap=True)


def _numbers(option: str, text: str, low: int, high: int) -> tuple[int, ...]:
    """Whole numbers separated by commas."""
    words = text.replace(" ", "").split(",")
    if all(word.isascii() and word.isdigit() and low <= int(word) <= high for word in words):
        return tuple(map(int, words))
    raise click.UsageError(f"{option} takes numbers from {low} to {high}, such as 1,10,100")


@cli.command("list")
@_format_option
def list_labs(form: str) -> None:
    """List the labs that can be named, and those that are deployed."""
    from ikelab.lab import report

    rows = list(lab_rows())
    columns = ("name", "state", "title", "folder")
    if form == "json":
        found: list[Json] = [dict(zip(columns, row, strict=True)) for row in rows]
        report.print_json(found, sys.stdout)
        return
    shown = [(*row, report.near(Path(folder))) for *row, folder in rows]
    report.stdout_console(sys.stdout).print(report.table("Labs", columns, shown))


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The entry point of the command line."""
    for number in _ENDING:
        signal.signal(number, _leave)
    sys.exit(_main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    """Run one command, tell errors as people read them; the exit code."""
    try:
        result = cli.main(arguments, prog_name=_started_as(), standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return _INTERRUPTED
    except ConfigError as error:
        tell(str(error))
        return USAGE
    except LabError as error:
        tell(str(error))
        return ENVIRONMENT
    except BrokenPipeError:
        # Whoever reads us has seen enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return result if isinstance(result, int) else OK


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """The first of these signals ends us through every `finally`; the next ones do not break that.

    What is to be removed is removed in seconds, and SIGKILL is always left: then the supervisor
    does it.
    """
    for one in _ENDING:
        signal.signal(one, signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _started_as() -> str:
    return os.environ.get("IKELAB_STARTED_AS") or "ikelab"


def typeable(text: str) -> str:
    """A message whose commands can be typed as they stand: `ikelab list` as `./netns/lab list`."""
    return text.replace("`ikelab ", f"`{_started_as()} ")


def _progress(text: str) -> None:
    from ikelab.lab.report import printable

    # What a node shows may hold what its peers have sent.
    click.echo(printable(typeable(text)), err=True)


def _warn(topology: Topology) -> None:
    """What works in a lab and would be a mistake elsewhere."""
    from ikelab.ios.config_text import parse_config
    from ikelab.ios.granting import grant_warnings
    from ikelab.ios.guessable import key_warnings
    from ikelab.lab.exposure import exposure_warnings
    from ikelab.lab.report import printable

    said: list[tuple[str, str]] = []
    for node in topology.nodes:
        if node.config:
            config = parse_config(node.config, mode=node.mode)
            said += ((node.name, text) for text in (*key_warnings(config), *grant_warnings(config)))
    for name, text in (*said, *exposure_warnings(topology)):
        click.secho(printable(f"% Warning: {name}: {text}"), fg="yellow", err=True)


def tell(text: str) -> None:
    """An error on standard error, as IOS begins one; what would mend it is indented.

    What a console has said begins so already.
    """
    from ikelab.lab.report import printable

    for line in printable(typeable(text)).splitlines():
        click.secho(line if line.startswith((" ", "% ")) else f"% {line}", fg="red", err=True)
