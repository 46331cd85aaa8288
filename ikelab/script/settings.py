"""What a scripted peer is configured with: one policy, one tunnel, a key or a certificate."""

from __future__ import annotations

from dataclasses import replace

from ikelab.errors import ConfigError
from ikelab.isakmp.policy import (
    AggressivePeer,
    IpsecFlow,
    IsakmpConfig,
    IsakmpPolicy,
    Keyring,
    PreSharedKey,
    ProxyIdentity,
    TransformSet,
)
from ikelab.script.identity import Identity
from ikelab.types import Endpoint
from ikelab.wire.numbers import (
    AuthAlgorithm,
    AuthMethod,
    EncapsulationMode,
    EncryptionAlgorithm,
    EspTransform,
    Group,
    HashAlgorithm,
    IdType,
    IpProtocol,
)

POLICY = IsakmpPolicy(
    10,
    EncryptionAlgorithm.AES_CBC,
    256,
    HashAlgorithm.SHA2_256,
    AuthMethod.PRE_SHARED_KEY,
    Group.MODP_2048,
)
"""What the labs of `netns/` have: AES 256, SHA-256, group 14; the method follows what is given."""

TRANSFORM_SET = TransformSet(
    "AES256_SHA256",
    EspTransform.ESP_AES,
    256,
    AuthAlgorithm.HMAC_SHA2_256,
    EncapsulationMode.TRANSPORT,
)


def settings(
    local: Endpoint,
    remote: Endpoint,
    *,
    hostname: str = "script.example",
    pre_shared_key: str | None = None,
    identity: Identity | None = None,
    policy: IsakmpPolicy = POLICY,
    transform_set: TransformSet = TRANSFORM_SET,
    pfs: Group | None = None,
    identity_type: IdType = IdType.ID_IPV4_ADDR,
    aggressive: bool = False,
) -> IsakmpConfig:
    """A router with one GRE tunnel to one peer, authenticated by a key or a certificate.

    aggressive: begin in aggressive mode, and answer to it; message 1 then has `hostname` as its ID,
    or our address, as `identity_type` says.

    Raises ConfigError unless exactly one of `pre_shared_key` and `identity` is given. Everything
    else can be changed with `dataclasses.replace`.
    """
    if (pre_shared_key is None) == (identity is None):
        raise ConfigError("a peer has either a pre_shared_key or an identity")
    method = AuthMethod.RSA_SIG if identity is not None else AuthMethod.PRE_SHARED_KEY
    flow = IpsecFlow(
        name="Tunnel1",
        local=local,
        remote=remote,
        local_proxy=ProxyIdentity(local.address, protocol=IpProtocol.GRE),
        remote_proxy=ProxyIdentity(remote.address, protocol=IpProtocol.GRE),
        transform_sets=(transform_set,),
        pfs=pfs,
    )
    named = identity_type is not IdType.ID_IPV4_ADDR
    called = AggressivePeer(remote.address, identity_type, hostname if named else local.address)
    keys = (PreSharedKey(remote.address, "255.255.255.255", pre_shared_key or ""),)
    return IsakmpConfig(
        hostname=hostname,
        policies=(replace(policy, authentication=method),),
        flows=(flow,),
        keyrings=(Keyring("default", keys),) if identity is None else (),
        identity=identity_type,
        aggressive_mode=aggressive,
        aggressive_peers=(called,) if aggressive else (),
        credentials=() if identity is None else (identity.credential,),
        trusted_authorities=() if identity is None else identity.authorities,
    )
