"""The protected tunnels of a configuration, as the data plane wants them, and what it counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Interface

from ikelab.ios.config import RunningConfig, linux_ifname
from ikelab.ios.log_line import IsakmpSwitched, LineProtocolChanged, LinkChanged
from ikelab.node import flows
from ikelab.node.snapshot import PlaneCounters
from ikelab.runtime.dataplane.base import DataPlane, TunnelConfig

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


TunnelFact = IsakmpSwitched | LinkChanged | LineProtocolChanged


class TunnelFacts:
    """What IOS's console says of protected tunnels: ISAKMP goes on with the first that is up and
    off with the last; a tunnel's link and protocol are up while a pair of SAs carries it.
    """

    def __init__(self) -> None:
        self._open: set[str] = set()
        self._pairs: Counter[str] = Counter()

    def configured(self, config: RunningConfig) -> Iterator[TunnelFact]:
        """A configuration is in force."""
        known = {interface.name for interface in flows.protected_tunnels(config)}
        is_open = {name for name in known if not config.interfaces[name].shutdown}
        if bool(is_open) != bool(self._open):
            yield IsakmpSwitched(bool(is_open))
        for name in sorted(self._open - is_open):
            if name in config.interfaces:
                yield LinkChanged(name, "administratively down")
                yield LineProtocolChanged(name, False)
            self._pairs.pop(name, None)
        self._open = is_open

    def installed(self, name: str) -> Iterator[TunnelFact]:
        """A pair carries a tunnel."""
        self._pairs[name] += 1
        if self._pairs[name] == 1:
            yield LinkChanged(name, "up")
            yield LineProtocolChanged(name, True)

    def removed(self, name: str) -> Iterator[TunnelFact]:
        """A pair is gone."""
        if name not in self._pairs:
            return
        self._pairs[name] -= 1
        if not self._pairs[name]:
            del self._pairs[name]
            yield LineProtocolChanged(name, False)


def plane_counters(plane: DataPlane) -> list[PlaneCounters]:
    """What the data plane has counted, for `show crypto ipsec sa`."""
    return [
        PlaneCounters(
            sa.inbound_spi, sa.encaps, sa.decaps, sa.octets, sa.send_errors, sa.receive_errors
        )
        for sa in plane.sas()
    ]
