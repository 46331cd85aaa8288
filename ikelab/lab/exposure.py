"""What of a PKI strangers can reach: the guide's advice on the place of CAs and their storage.

A segment is outside where a tunnel begins or ends: what lies behind it is not ours.
"""

from __future__ import annotations

from collections.abc import Iterator

from ikelab.ios.config import RunningConfig
from ikelab.ios.config_text import parse_config
from ikelab.lab.topology import Topology
from ikelab.node.flows import protected_tunnels, source_address
from ikelab.runtime.nodespec import NodeKind, NodeSpec

_WEB_PORT = 80  # what a scan tries first


def exposure_warnings(topology: Topology) -> Iterator[tuple[str, str]]:
    """(node, sentence) on each root, SCEP server on port 80 and FTP server that is outside."""
    configs = {
        node.name: parse_config(node.config, mode=node.mode)
        for node in topology.nodes
        if node.has_console
    }
    outside = {
        segment
        for node in topology.nodes
        if node.name in configs
        for segment in _ends_of_tunnels(node, configs[node.name])
    }
    for node in topology.nodes:
        where = [item.segment for item in node.attachments if item.up and item.segment in outside]
        if where and node.kind is NodeKind.STORAGE and node.ftp_users:
            yield (
                node.name,
                f"its FTP server, which holds what the CAs keep, can be reached from {where[0]},"
                " where tunnels end; keep it inside",
            )
        if where and node.name in configs:
            yield from ((node.name, text) for text in _servers(configs[node.name], where[0]))


def _ends_of_tunnels(node: NodeSpec, config: RunningConfig) -> Iterator[str]:
    """The segments a node's tunnels leave by."""
    sources = {
        source_address(config, interface.tunnel)
        for interface in protected_tunnels(config)
        if interface.tunnel is not None
    }
    for item in node.attachments:
        if item.address is not None and item.address.partition("/")[0] in sources:
            yield item.segment


def _servers(config: RunningConfig, segment: str) -> Iterator[str]:
    """Of a node on an outside segment."""
    if not config.http_server:
        return
    for server in config.servers.values():
        where = f"crypto pki server {server.name} answers on {segment}, where tunnels end"
        if server.mode == "root":
            yield (
                f"{where}, and is a root: whoever breaks into it has the whole PKI; let a CA of"
                " `mode sub-cs` or `mode ra` answer there"
            )
        if config.http_port == _WEB_PORT:
            yield (
                f"{where}, at port {_WEB_PORT}, which every scan tries; `ip http port 12345` and"
                " the same in the routers' `enrollment url` move it"
            )
