"""Which labs there are, named or deployed, and what a deployed one says of itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ikelab.errors import ConfigError, LabError
from ikelab.lab import find, state
from ikelab.lab.plan import SWITCH
from ikelab.lab.topology import Topology, load
from ikelab.runtime.control import ControlClient, Json
from ikelab.runtime.nodespec import NodeKind, namespace_name


def deployed_lab(lab: str | None, *, must_run: bool = True) -> str:
    """The name of the deployed lab that is meant: a name, a path, or the only one there is."""
    names = state.labs()
    if lab is None:
        if len(names) == 1:
            return names[0]
        if names:
            raise ConfigError(
                "which lab?", hint=f"deployed: {', '.join(names)}; name one, at a node with --lab"
            )
        raise LabError("no lab is deployed", hint="`ikelab deploy LAB` makes one")
    if lab not in names and "/" in lab.rstrip("/") + "/":
        lab = _name_at(lab)
    if must_run and lab not in names:
        raise LabError(f"{lab} is not deployed", hint=f"deployed: {', '.join(names) or 'none'}")
    return lab


def _name_at(lab: str) -> str:
    """The name that the lab in a folder gives itself, or what was written if there is none."""
    try:
        return load(find.find(lab, Path.cwd())).name
    except ConfigError:
        return lab.strip("/")


def topology_of(lab: str) -> Topology:
    """A deployed lab, as its files have it."""
    return load(Path(_state(lab).folder))


def nodes_of(lab: str) -> list[str]:
    """The names of a deployed lab's nodes, whatever its files say by now."""
    names = [name.removeprefix(namespace_name(lab, "")) for name in _state(lab).namespaces]
    return [name for name in names if name != SWITCH]


def _state(lab: str) -> state.LabState:
    known = state.read(lab)
    if known is None:
        raise LabError(f"the state of {lab} cannot be read", hint="`ikelab destroy` removes it")
    return known


def inspect_lab(lab: str) -> dict[str, Json]:
    """The supervisor's word on every node, and what each node says it has reached."""
    with ControlClient(state.control_path(lab)) as client:
        status = client.call("status")
    if not isinstance(status, dict):
        raise LabError(f"the supervisor of {lab} makes no sense")
    for node in listed(status, "nodes"):
        if isinstance(node, dict) and node.get("state") == "running":
            node["reached"] = list(_reached(lab, str(node.get("name")), str(node.get("kind"))))
    return {"lab": lab, **status}


def _reached(lab: str, node: str, kind: str) -> Iterator[Json]:
    """The conditions that hold at a node now."""
    wanted = {
        NodeKind.ROUTER.value: ("enrolled", "tunnel-up"),
        NodeKind.CA.value: ("enrolled", "ca-enabled"),
    }
    try:
        with ControlClient(state.run_dir(lab) / f"{node}.sock") as client:
            for condition in wanted.get(kind, ()):
                if client.wait(condition, timeout=0):
                    yield condition
    except LabError as error:
        yield f"no answer: {error.reason}"


def node_row(node: Json) -> tuple[str, ...]:
    """One node of `inspect_lab` as the cells of a table."""
    fields = node if isinstance(node, dict) else {}
    lists = [", ".join(map(str, listed(fields, key))) for key in ("addresses", "reached")]
    words = [str(fields.get(key, "-")) for key in ("name", "kind", "state", "pid", "namespace")]
    return (*words, *lists)


def listed(value: Json, key: str) -> list[Json]:
    """A list of an object; an empty one where there is none."""
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []


def lab_rows() -> Iterator[tuple[str, str, str, str]]:
    """(name, state, title, folder) of every lab that can be named or is deployed."""
    deployed = {name: state.read(name) for name in state.labs()}
    for folder in find.available(Path.cwd()).values():
        try:
            topology = load(folder)
        except ConfigError as error:
            yield folder.name, "faulty", error.reason, str(folder)
            continue
        shown = "-"
        if topology.name in deployed:
            shown = _state_of(topology.name, deployed.pop(topology.name))
        yield topology.name, shown, topology.title, str(folder)
    for name, known in deployed.items():
        yield name, _state_of(name, known), "-", known.folder if known else "-"


def _state_of(lab: str, known: state.LabState | None) -> str:
    if not os.access(state.run_dir(lab), os.R_OK | os.X_OK):
        return "seen by root"
    return "deployed" if known is not None and known.is_running else "left over"
