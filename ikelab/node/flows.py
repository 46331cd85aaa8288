"""From a node's configuration to what its IKE engine is told: the tunnels that want protection.

A Tunnel interface with `tunnel protection` becomes one flow: GRE (protocol 47) from end to end,
host to host, in the transform sets of its IPsec profile. Every fault is found before any is raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ikelab.errors import ConfigError
from ikelab.ios.config import (
    InterfaceConfig,
    LabMode,
    RunningConfig,
    TunnelConfig,
    interface_order,
)
from ikelab.ios.strength import weaknesses
from ikelab.isakmp.policy import (
    Credential,
    IpsecFlow,
    IpsecProfile,
    IsakmpConfig,
    IsakmpPolicy,
    ProxyIdentity,
)
from ikelab.pki.config import TrustpointConfig
from ikelab.pki.issuer import names_registration_authority
from ikelab.pki.name import parse_dn
from ikelab.types import Endpoint
from ikelab.wire.numbers import ISAKMP_PORT, AuthMethod, IpProtocol

Ends = dict[tuple[str, str], dict[str, str | None]]
"""Of tunnels: source and destination -> the ISAKMP profile of each tunnel between them."""

DEFAULT_POLICY = IsakmpPolicy(priority=65535)
"""IOS's default protection suite, offered after all others: DES, SHA, RSA signatures, group 1."""


def to_isakmp_config(
    config: RunningConfig,
    credentials: Sequence[Credential] = (),
    authorities: Sequence[tuple[str, bytes]] = (),
    *,
    mode: LabMode = "modern",
) -> IsakmpConfig:
    """What the engine is told. credentials, authorities: of the trustpoints enrolled so far.

    In legacy mode IOS's default policy comes last, where there is a certificate to sign with.
    Raises what `refuse_faults` raises.
    """
    refuse_faults(config, mode=mode)
    policies = [config.policies[priority] for priority in sorted(config.policies)]
    if mode == "legacy" and credentials:
        policies.append(DEFAULT_POLICY)
    return IsakmpConfig(
        hostname=config.fqdn,
        policies=tuple(policies),
        flows=tuple(_flow(config, interface) for interface in protected_tunnels(config)),
        profiles=tuple(config.profiles.values()),
        keyrings=tuple(config.keyrings.values()),
        identity=config.identity,
        keepalive=config.keepalive,
        admission=config.admission,
        aggressive_mode=config.aggressive_mode,
        aggressive_peers=tuple(config.aggressive_peers.values()),
        nat_traversal=config.nat_transparency,
        nat_keepalive=config.nat_keepalive,
        fragmentation=config.fragmentation,
        delete_with_reason=config.delete_with_reason,
        credentials=tuple(credentials),
        trusted_authorities=tuple(authorities),
    )


def refuse_faults(config: RunningConfig, *, mode: LabMode = "modern") -> None:
    """Raise ConfigError naming every fault of the configuration."""
    faults = list(find_faults(config, mode=mode))
    if faults:
        raise ConfigError(f"{config.hostname}: " + "; ".join(faults))


def protected_tunnels(config: RunningConfig) -> Iterator[InterfaceConfig]:
    """The Tunnel interfaces with `tunnel protection` that are not shut down, in their order."""
    for name in sorted(config.interfaces, key=interface_order):
        interface = config.interfaces[name]
        if interface.tunnel and interface.tunnel.protection and not interface.shutdown:
            yield interface


def source_address(config: RunningConfig, tunnel: TunnelConfig) -> str | None:
    """The outer local address of a tunnel: given, or that of the interface it names."""
    if tunnel.source is None or "." in tunnel.source:
        return tunnel.source
    interface = config.interfaces.get(tunnel.source)
    return interface.address if interface else None


def find_faults(config: RunningConfig, *, mode: LabMode = "modern") -> Iterator[str]:
    """Sentences on everything that does not fit together, and what would mend it."""
    if mode == "modern":
        yield from (error.reason for _, error in weaknesses(config))
    yield from _fallback_faults(config)
    yield from _parent_faults(config)
    yield from _registration_faults(config)
    yield from _server_faults(config)
    yield from _profile_faults(config)
    yield from _aggressive_faults(config)
    for profile in config.ipsec_profiles.values():
        yield from _ipsec_profile_faults(config, profile)
    ends: Ends = {}
    for interface in protected_tunnels(config):
        yield from _tunnel_faults(config, interface, ends)


def _fallback_faults(config: RunningConfig) -> Iterator[str]:
    for point in config.trustpoints.values():
        if point.fallback is None:
            continue
        where = f"crypto pki trustpoint {point.name} has `enrollment fallback {point.fallback}`"
        other = config.trustpoints.get(point.fallback)
        if other is None:
            yield f"{where}, which does not exist"
        elif other is point or other.enrollment_url is None:
            yield f"{where}: that must be another trustpoint with an `enrollment url`"
        elif other.name in config.servers or point.name in config.servers:
            yield f"{where}: a certificate server has one CA above it"


def _parent_faults(config: RunningConfig) -> Iterator[str]:
    """`chain-validation continue PARENT`: it must be there, and the way up must end."""
    for point in config.trustpoints.values():
        passed: list[str] = []
        at: TrustpointConfig | None = point
        while at is not None and at.parent is not None and at.name not in passed:
            passed.append(at.name)
            where = f"crypto pki trustpoint {at.name} has `chain-validation continue {at.parent}`"
            at = config.trustpoints.get(at.parent)
            if at is None and len(passed) == 1:
                yield f"{where}, which does not exist"
            elif at is point:
                yield f"{where}: the way up leads back to {point.name}"


def _registration_faults(config: RunningConfig) -> Iterator[str]:
    for server in config.servers.values():
        if server.mode != "ra":
            continue
        point = config.trustpoints.get(server.name)
        name = point.subject_name if point is not None else None
        if name is None or not names_registration_authority(parse_dn(name)):
            yield (
                f"crypto pki server {server.name} is in mode ra: `crypto pki trustpoint"
                f" {server.name}` wants a `subject-name` with cn=ioscs RA or ou=ioscs RA in it"
            )


def _server_faults(config: RunningConfig) -> Iterator[str]:
    """A box has one web server, and a router that asks there does not say whom it means."""
    enabled = [server.name for server in config.servers.values() if server.enabled]
    for name in enabled[1:]:
        yield (
            f"crypto pki server {name} cannot be enabled beside {enabled[0]}: a router serves one"
            f" certificate server, so `shutdown` {enabled[0]} first"
        )


def _profile_faults(config: RunningConfig) -> Iterator[str]:
    for profile in config.profiles.values():
        where = f"crypto isakmp profile {profile.name}"
        if profile.keyring and profile.keyring not in config.keyrings:
            yield f"{where} names the keyring {profile.keyring}, which does not exist"
    has_keys = config.keyrings or any(peer.password for peer in config.aggressive_peers.values())
    for policy in config.policies.values():
        if policy.authentication is AuthMethod.PRE_SHARED_KEY and not has_keys:
            yield (
                f"crypto isakmp policy {policy.priority} wants a pre-shared key, and there is none:"
                " give `crypto isakmp key` or a `crypto keyring`"
            )


def _aggressive_faults(config: RunningConfig) -> Iterator[str]:
    for peer in config.aggressive_peers.values():
        where = f"crypto isakmp peer address {peer.address}"
        if peer.id_type is None:
            yield f"{where} wants a `set aggressive-mode client-endpoint`"
        elif not config.aggressive_mode:
            yield (
                f"{where} asks for aggressive mode, which is off here: allow it with"
                " `no crypto isakmp aggressive-mode disable`"
            )


def _ipsec_profile_faults(config: RunningConfig, profile: IpsecProfile) -> Iterator[str]:
    where = f"crypto ipsec profile {profile.name}"
    for name in profile.transform_sets:
        if name not in config.transform_sets:
            yield f"{where} names the transform-set {name}, which does not exist"
    if profile.isakmp_profile and profile.isakmp_profile not in config.profiles:
        yield f"{where} names the isakmp-profile {profile.isakmp_profile}, which does not exist"


def _tunnel_faults(config: RunningConfig, interface: InterfaceConfig, ends: Ends) -> Iterator[str]:
    """Faults of one tunnel. ends: of those before it."""
    where, tunnel = f"interface {interface.name}", interface.tunnel
    if tunnel is None or tunnel.protection is None:
        return
    profile = config.ipsec_profiles.get(tunnel.protection)
    if profile is None:
        yield f"{where} names the ipsec profile {tunnel.protection}, which does not exist"
    elif not profile.transform_sets:
        yield f"crypto ipsec profile {profile.name} has no `set transform-set`"
    if not config.policies:
        yield f"{where} is protected, but there is no `crypto isakmp policy`"
    source = source_address(config, tunnel)
    if tunnel.source is None or tunnel.destination is None:
        yield f"{where} wants both `tunnel source` and `tunnel destination`"
    elif source is None:
        yield f"{where} has `tunnel source {tunnel.source}`, which has no address"
    else:
        # Peers behind one NAT have one address: what tells them apart is who they say they are.
        who = profile.isakmp_profile if profile is not None else None
        known = ends.setdefault((source, tunnel.destination), {})
        for name, other in known.items():
            if other == who or None in (other, who):
                yield (
                    f"{where} has the same two ends as {name}: IPsec cannot tell them apart, unless"
                    " each has its own isakmp-profile"
                )
                break
        known[interface.name] = who


def _flow(config: RunningConfig, interface: InterfaceConfig) -> IpsecFlow:
    """The flow of a tunnel without faults."""
    tunnel = interface.tunnel or TunnelConfig()
    local, remote = source_address(config, tunnel) or "", tunnel.destination or ""
    profile = config.ipsec_profiles[tunnel.protection or ""]
    return IpsecFlow(
        name=interface.name,
        local=Endpoint(local, ISAKMP_PORT),
        remote=Endpoint(remote, ISAKMP_PORT),
        local_proxy=ProxyIdentity(local, protocol=IpProtocol.GRE),
        remote_proxy=ProxyIdentity(remote, protocol=IpProtocol.GRE),
        transform_sets=tuple(config.transform_sets[name] for name in profile.transform_sets),
        lifetime_seconds=profile.lifetime_seconds,
        lifetime_kilobytes=profile.lifetime_kilobytes,
        pfs=profile.pfs,
        isakmp_profile=profile.isakmp_profile,
    )
