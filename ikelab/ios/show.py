"""The texts of the show commands, and their JSON, from a node's snapshot.

Every command is one row of VIEWS: the text of it, line by line, and the facts of it, which `| json`
prints. Shapes as in the guide and IOS 12.4; `drops` and `version` are our own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from enum import Enum

from ikelab.errors import ConfigError
from ikelab.ios import debugging, show_pki
from ikelab.ios.arguments import Arguments, Command
from ikelab.ios.config import RunningConfig
from ikelab.ios.config_text import show_running_config
from ikelab.ios.pipe import apply_pipe
from ikelab.ios.show_ipsec import show_ipsec_sa, show_session
from ikelab.ios.show_isakmp import (
    show_admission,
    show_drops,
    show_isakmp_sa,
    show_keys,
    show_peers,
    show_policy,
    show_profiles,
)
from ikelab.ios.show_ntp import followed, show_associations, show_status
from ikelab.ios.snapshot import NodeSnapshot
from ikelab.ios.text import clock, moment_text, without_user
from ikelab.ios.zone import Zone
from ikelab.isakmp.policy import AggressivePeer, PreSharedKey
from ikelab.pki.config import CertServerConfig, TrustpointConfig

HIDDEN = "*****"
Json = None | bool | int | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True, slots=True)
class View:
    """One command. text: its lines. facts: what it is about, under the names JSON gives them."""

    text: Callable[[NodeSnapshot, Arguments], Iterator[str]]
    facts: Callable[[NodeSnapshot, Arguments], Mapping[str, object]]


def show(command: Command, snapshot: NodeSnapshot) -> str:
    """What the command prints, through its filter. Raises ConfigError for one that is not here."""
    view = VIEWS.get(command.name)
    if view is None:
        raise ConfigError(f"`{command.name}` shows nothing")
    if command.pipe is not None and command.pipe.kind == "json":
        return json.dumps(show_facts(command, snapshot), indent=2) + "\n"
    text = "".join(line + "\n" for line in view.text(snapshot, command.arguments))
    return apply_pipe(command.pipe, text)


def show_facts(command: Command, snapshot: NodeSnapshot) -> Json:
    """The facts of a command in plain types: dates in ISO 8601, octets in hexadecimal."""
    return plain(VIEWS[command.name].facts(snapshot, command.arguments))


def plain(value: object) -> Json:
    """Any row in JSON's types: numbers of protocols by name, spans in seconds.

    Keys and passwords of a configuration are left out: snapshots end in reports and bug reports.
    Raises TypeError for anything else.
    """
    match value:
        case Enum():
            return value.name
        case None | bool() | int() | str():
            return value
        case bytes():
            return value.hex()
        case datetime():
            return value.isoformat()
        case timedelta():
            return int(value.total_seconds())
        case Mapping():
            return {str(key): plain(one) for key, one in value.items()}
        case Sequence() | frozenset():
            return [plain(one) for one in value]
    if is_dataclass(value):
        return {
            field.name: plain(_without_secret(value, field.name, getattr(value, field.name)))
            for field in fields(value)
        }
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _without_secret(holder: object, name: str, value: object) -> object:
    match holder, name, value:
        case (PreSharedKey(), "key", _) | (CertServerConfig(), "archive_password", str()):
            return HIDDEN
        case TrustpointConfig() | AggressivePeer(), "password", str():
            return HIDDEN
        case CertServerConfig(), "database_url", str():
            return without_user(value)
    return value


# --- system -----------------------------------------------------------------------------------


def _clock(snapshot: NodeSnapshot, arguments: Arguments) -> Iterator[str]:
    yield clock(snapshot.moment, snapshot.zone, synced=snapshot.synced, drifting=snapshot.drifting)
    if "detail" in arguments:
        yield f"Time source is {_time_source(snapshot)}"
        yield from _summer_time(snapshot)


def _summer_time(snapshot: NodeSnapshot) -> Iterator[str]:
    """When it begins and ends this year, each in the time until then."""
    zone = snapshot.zone
    if zone.summer is None:
        return
    start, end = zone.summer.of(zone.local(snapshot.moment)[0].year)
    yield f"Summer time starts {moment_text(start, Zone(zone.name))}"
    yield f"Summer time ends {moment_text(end, Zone(zone.summer.name))}"


def _time_source(snapshot: NodeSnapshot) -> str:
    if followed(snapshot) is not None or snapshot.drifting:
        return "NTP"
    return "user configuration" if snapshot.synced else "hardware calendar"


def _running_config(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    yield from _lines(snapshot.config)


def _version(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    days, rest = divmod(snapshot.uptime, 86400)
    hours, minutes = rest // 3600, rest // 60 % 60
    yield f"ikelab {snapshot.version}, an IKEv1 and certificate lab; mode: {snapshot.mode}"
    yield (
        f"{snapshot.config.hostname} uptime is {_count(days, 'day')}, {_count(hours, 'hour')},"
        f" {_count(minutes, 'minute')}"
    )


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def _debugging(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    yield from debugging.shown(snapshot.debugging)


def _interfaces(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    head = "Interface                  IP-Address      OK? Method Status                Protocol"
    yield head
    for row in snapshot.interfaces:
        address, method = row.address or "unassigned", "manual" if row.address else "unset"
        yield f"{row.name:<26} {address:<15} YES {method:<6} {row.status:<21} {row.protocol}"


def _lines(config: RunningConfig) -> list[str]:
    return show_running_config(config).splitlines()


VIEWS: Mapping[str, View] = {
    "show clock": View(
        _clock,
        lambda s, _: {
            **{"moment": s.moment, "synced": s.synced, "drifting": s.drifting},
            "source": _time_source(s),
        },
    ),
    "show ntp associations": View(
        show_associations, lambda s, _: {"associations": s.ntp, "drops": s.ntp_drops}
    ),
    "show ntp status": View(
        show_status, lambda s, _: {"followed": followed(s), "updated": s.ntp_updated}
    ),
    "show version": View(
        _version, lambda s, _: {"version": s.version, "uptime": s.uptime, "mode": s.mode}
    ),
    "show running-config": View(_running_config, lambda s, _: {"lines": _lines(s.config)}),
    "show debugging": View(_debugging, lambda s, _: {"debugging": sorted(s.debugging)}),
    "show ip interface brief": View(_interfaces, lambda s, _: {"interfaces": s.interfaces}),
    "show crypto isakmp sa": View(show_isakmp_sa, lambda s, _: {"isakmp_sas": s.isakmp_sas}),
    "show crypto isakmp policy": View(
        show_policy,
        lambda s, _: {"policies": [s.config.policies[n] for n in sorted(s.config.policies)]},
    ),
    "show crypto isakmp peers": View(show_peers, lambda s, _: {"peers": s.peers}),
    "show crypto isakmp profile": View(
        show_profiles, lambda s, _: {"profiles": list(s.config.profiles.values())}
    ),
    "show crypto isakmp key": View(
        show_keys, lambda s, _: {"keyrings": list(s.config.keyrings.values())}
    ),
    "show crypto call admission statistics": View(
        show_admission, lambda s, _: {"admission": s.admission}
    ),
    "show crypto isakmp drops": View(show_drops, lambda s, _: {"drops": s.drops}),
    "show crypto ipsec sa": View(show_ipsec_sa, lambda s, _: {"ipsec_sas": s.ipsec_sas}),
    "show crypto session": View(
        show_session, lambda s, _: {"isakmp_sas": s.isakmp_sas, "ipsec_sas": s.ipsec_sas}
    ),
    "show crypto pki certificates": View(
        show_pki.show_certificates,
        lambda s, arguments: {
            "certificates": show_pki.certificate_rows(s, arguments),
            "pending_certificates": show_pki.pending_rows(s, arguments),
        },
    ),
    "show crypto pki trustpoints": View(
        show_pki.show_trustpoints,
        lambda s, arguments: {"trustpoints": show_pki.trustpoint_rows(s, arguments)},
    ),
    "show crypto pki crls": View(
        show_pki.show_crls, lambda s, _: {"crls": s.crls, "maximum": s.crl_cache_limit}
    ),
    "show crypto pki server": View(
        show_pki.show_server,
        lambda s, arguments: {"servers": show_pki.server_rows(s, arguments)},
    ),
    "show crypto key mypubkey rsa": View(
        show_pki.show_keys, lambda s, arguments: {"keys": show_pki.key_rows(s, arguments)}
    ),
    "crypto pki server info requests": View(
        show_pki.show_requests,
        lambda s, arguments: {"requests": show_pki.request_rows(s, arguments)},
    ),
}
"""By the names of the table's rows."""
