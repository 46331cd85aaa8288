"""Rows of the command table: the host, its interfaces, routes and web server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ikelab.errors import ConfigError
from ikelab.ios.arguments import Arguments
from ikelab.ios.config import (
    InterfaceConfig,
    RunningConfig,
    StaticRoute,
    TunnelConfig,
    check_host_address,
    check_prefix,
    interface_order,
)
from ikelab.ios.row import (
    Mode,
    Row,
    Section,
    Shown,
    default_of,
    named_section,
    shown,
    with_attribute,
)

GLOBAL: Section[RunningConfig] = Section(
    Mode.CONFIG, lambda config, _: config, lambda _, __, new: new
)


# --- interface --------------------------------------------------------------------------------


def _new_interface(name: str) -> InterfaceConfig:
    return InterfaceConfig(name, tunnel=TunnelConfig() if name.startswith("Tunnel") else None)


INTERFACE = named_section(Mode.CONFIG_IF, "interfaces", _new_interface)


def _remove_interface(config: RunningConfig, key: str, arguments: Arguments) -> RunningConfig:
    if not arguments.text("name").startswith("Tunnel"):
        raise ConfigError("Removal of physical interfaces is not permitted")
    return INTERFACE.remove(config, key, arguments)


def _interfaces(config: RunningConfig) -> list[Shown]:
    return [shown(name=name) for name in sorted(config.interfaces, key=interface_order)]


def _set_address(interface: InterfaceConfig, arguments: Arguments) -> InterfaceConfig:
    address, mask = arguments.text("address"), arguments.text("mask")
    check_host_address(address, mask)
    return replace(interface, address=address, mask=mask)


def _show_address(interface: InterfaceConfig) -> list[Shown]:
    if interface.address is None:
        return [Shown(Arguments(), negative=True)]
    return [shown(address=interface.address, mask=interface.mask)]


def _tunnel_of(interface: InterfaceConfig) -> TunnelConfig:
    if interface.tunnel is None:
        raise ConfigError(
            f"{interface.name} has no tunnel", hint="enter `interface Tunnel 1` or the like first"
        )
    return interface.tunnel


def _tunnel_row(
    grammar: str,
    help_text: str,
    name: str,
    shows: Callable[[str | int], bool] = lambda _: True,
) -> Row:
    """A row over one attribute of the tunnel; shows: whether this row prints such a value."""

    def write(interface: InterfaceConfig, arguments: Arguments) -> InterfaceConfig:
        tunnel = _tunnel_of(interface)
        return replace(interface, tunnel=with_attribute(tunnel, name, arguments[name]))

    def clear(interface: InterfaceConfig, _: Arguments) -> InterfaceConfig:
        tunnel = _tunnel_of(interface)
        value = default_of(tunnel, name)
        return replace(interface, tunnel=with_attribute(tunnel, name, value))

    def read(interface: InterfaceConfig) -> Iterable[Shown]:
        value = getattr(interface.tunnel, name, None)
        return [] if value is None or not shows(value) else [shown(**{name: value})]

    return INTERFACE.row(grammar, help_text, write, clear, read)


def _set_gre(interface: InterfaceConfig, _: Arguments) -> InterfaceConfig:
    return replace(interface, tunnel=replace(_tunnel_of(interface), mode="gre ip"))


def _is_address(value: str | int) -> bool:
    return "." in str(value)


def _is_name(value: str | int) -> bool:
    return not _is_address(value)


INTERFACE_ROWS = (
    INTERFACE.attribute(
        "description LINE:description",
        "Interface specific description | Up to 240 characters describing this interface",
        "description",
    ),
    INTERFACE.row(
        "ip address A.B.C.D:address A.B.C.D:mask",
        "Interface Internet Protocol config commands | Set the IP address of an interface"
        " | IP address | IP subnet mask",
        _set_address,
        lambda interface, _: replace(interface, address=None, mask=None),
        _show_address,
    ),
    INTERFACE.attribute(
        "ip mtu <68-9216>:mtu", "Set IP Maximum Transmission Unit | MTU (bytes)", "mtu"
    ),
    INTERFACE.flag("shutdown", "Shutdown the selected interface", "shutdown"),
    _tunnel_row(
        "tunnel source A.B.C.D:source",
        "protocol-over-protocol tunneling | source of tunnel packets | ip address",
        "source",
        _is_address,
    ),
    _tunnel_row("tunnel source IFNAME:source", "interface", "source", _is_name),
    _tunnel_row(
        "tunnel destination A.B.C.D:destination",
        "destination of tunnel | ip address",
        "destination",
    ),
    INTERFACE.row(
        "tunnel mode gre ip",
        "tunnel encapsulation method | generic route encapsulation protocol | over IP",
        _set_gre,
        _set_gre,
        lambda _: [],
    ),
    _tunnel_row("tunnel key <0-4294967295>:key", "security or selector key | key", "key"),
    _tunnel_row(
        "tunnel protection ipsec profile LABEL:protection",
        "Enable tunnel protection | Use ipsec to protect this tunnel interface"
        " | Use an ipsec policy profile | IPSec policy profile",
        "protection",
    ),
)


# --- global -----------------------------------------------------------------------------------


def _route(arguments: Arguments) -> StaticRoute:
    prefix, mask, next_hop = (arguments.text(name) for name in ("prefix", "mask", "next_hop"))
    check_prefix(prefix, mask)
    return StaticRoute(prefix, mask, next_hop)


def _add_route(config: RunningConfig, arguments: Arguments) -> RunningConfig:
    route = _route(arguments)
    if route in config.routes:
        return config
    return replace(config, routes=(*config.routes, route))


def _remove_route(config: RunningConfig, arguments: Arguments) -> RunningConfig:
    route = _route(arguments)
    if route not in config.routes:
        raise ConfigError("No matching route to delete")
    return replace(config, routes=tuple(one for one in config.routes if one != route))


def _routes(config: RunningConfig) -> list[Shown]:
    return [shown(prefix=r.prefix, mask=r.mask, next_hop=r.next_hop) for r in config.routes]


def _set_port(config: RunningConfig, arguments: Arguments) -> RunningConfig:
    port = arguments.number("http_port")
    if port != 80 and port < 1024:
        raise ConfigError(f"{port} is not a port for HTTP", hint="80, or 1024 to 65535")
    return replace(config, http_port=port)


def _show_port(config: RunningConfig) -> list[Shown]:
    return [] if config.http_port == 80 else [shown(http_port=config.http_port)]


def _add_ntp_server(config: RunningConfig, arguments: Arguments) -> RunningConfig:
    server = arguments.text("server")
    known = [one for one in config.ntp_servers if one != server]
    return replace(config, ntp_servers=(*known, server))


def _remove_ntp_server(config: RunningConfig, arguments: Arguments) -> RunningConfig:
    server = arguments.text("server")
    return replace(config, ntp_servers=tuple(s for s in config.ntp_servers if s != server))


HOST_ROWS = (
    GLOBAL.attribute(
        "hostname HOSTNAME:hostname",
        "Set system's network name | This system's network name",
        "hostname",
    ),
    GLOBAL.attribute(
        "ip domain name DOMAIN:domain_name",
        "Global IP configuration subcommands | IP DNS Resolver | Define the default domain name"
        " | Default domain name",
        "domain_name",
    ),
    GLOBAL.row(
        "ip domain-name DOMAIN:domain_name",
        "Define the default domain name | Default domain name",
        lambda config, arguments: replace(config, domain_name=arguments.text("domain_name")),
        lambda config, _: replace(config, domain_name=None),
        lambda _: [],
    ),
)

NETWORK_ROWS = (
    INTERFACE.enter(
        "interface IFNAME:name",
        "Select an interface to configure | Interface such as GigabitEthernet0/0 or Tunnel1",
        remove=_remove_interface,
        read=_interfaces,
    ),
    GLOBAL.flag(
        "ip http server",
        "HTTP server configuration | Enable http server",
        "http_server",
        no_shown=True,
    ),
    GLOBAL.row(
        "ip http port <0-65535>:http_port",
        "Set http server port | HTTP port",
        _set_port,
        lambda config, _: replace(config, http_port=80),
        _show_port,
    ),
    GLOBAL.row(
        "ip route A.B.C.D:prefix A.B.C.D:mask A.B.C.D:next_hop",
        "Establish static routes | Destination prefix | Destination prefix mask"
        " | Forwarding router's address",
        _add_route,
        _remove_route,
        _routes,
        no="ip route A.B.C.D:prefix A.B.C.D:mask A.B.C.D:next_hop",
    ),
    GLOBAL.flag("ntp logging", "Configure NTP | Enable NTP message logging", "ntp_logging"),
    GLOBAL.row(
        "ntp server A.B.C.D:server",
        "Configure NTP server | IP address of peer",
        _add_ntp_server,
        _remove_ntp_server,
        lambda config: [shown(server=server) for server in config.ntp_servers],
        no="ntp server A.B.C.D:server",
    ),
)
