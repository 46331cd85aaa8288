"""The protected tunnels of a configuration, as the data plane wants them."""

from __future__ import annotations

from ipaddress import IPv4Interface

from ikelab.ios.config import RunningConfig, linux_ifname
from ikelab.node import flows
from ikelab.runtime.dataplane.base import TunnelConfig

GRE_OVERHEAD_MTU = 1400  # where a tunnel has no `ip mtu`: room for GRE, ESP and the outer header


def protected_tunnels(config: RunningConfig) -> list[tuple[str, TunnelConfig]]:
    """Name and order of each tunnel that can be made; one without its addresses is left out."""
    found = []
    for interface in flows.protected_tunnels(config):
        tunnel = interface.tunnel
        assert tunnel is not None, "a protected tunnel is one"
        local = flows.source_address(config, tunnel)
        if local is None or tunnel.destination is None or interface.address is None:
            continue
        address = IPv4Interface(f"{interface.address}/{interface.mask}")
        found.append(
            (
                interface.name,
                TunnelConfig(
                    name=interface.name,
                    ifname=linux_ifname(interface.name),
                    address=str(address),
                    local=local,
                    remote=tunnel.destination,
                    key=tunnel.key,
                    mtu=interface.mtu or GRE_OVERHEAD_MTU,
                ),
            )
        )
    return found
