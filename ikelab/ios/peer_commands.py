"""Rows of the command table: aggressive mode, and pre-shared keys of peers known by name.

IOS allows aggressive mode unless `crypto isakmp aggressive-mode disable` forbids it, to and from
all peers. Here that command is the default, and `no crypto isakmp aggressive-mode disable` allows
it: with a pre-shared key it hands a hash of the key to everybody who asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ikelab.ios.arguments import Arguments
from ikelab.ios.config import DEFAULT_KEYRING, DPD_RETRY, RunningConfig
from ikelab.ios.crypto_commands import KEYRING
from ikelab.ios.row import Mode, Row, Shown, named_section, shown
from ikelab.ios.system_commands import GLOBAL
from ikelab.isakmp.policy import AggressivePeer, Keepalive, Keyring, PreSharedKey
from ikelab.wire.numbers import IdType

PEER = named_section(
    Mode.CONFIG_ISAKMP_PEER, "aggressive_peers", AggressivePeer, argument="address"
)

# --- crypto isakmp peer -----------------------------------------------------------------------


def _endpoint_row(word: str, kind: str, help_text: str, id_type: IdType) -> Row:
    """`set aggressive-mode client-endpoint` of one kind."""

    def write(peer: AggressivePeer, arguments: Arguments) -> AggressivePeer:
        return replace(peer, id_type=id_type, id_value=arguments.text("value"))

    def clear(peer: AggressivePeer, _: Arguments) -> AggressivePeer:
        return replace(peer, id_type=None, id_value="")

    def read(peer: AggressivePeer) -> Iterable[Shown]:
        return [shown(value=peer.id_value)] if peer.id_type is id_type else []

    return PEER.row(
        f"set aggressive-mode client-endpoint {word} {kind}:value",
        "Set peer parameters | Set aggressive-mode attributes | Specify the client endpoint"
        f" | {help_text}",
        write,
        clear,
        read,
    )


PEER_ROWS = (
    PEER.attribute(
        "set aggressive-mode password WORD:password",
        "Set peer parameters | Set aggressive-mode attributes | Specify the password"
        " | The pre-shared key",
        "password",
    ),
    _endpoint_row("fqdn", "DOMAIN", "Specify the FQDN | The name", IdType.ID_FQDN),
    _endpoint_row(
        "ipv4-address", "A.B.C.D", "Specify the IPv4 address | The address", IdType.ID_IPV4_ADDR
    ),
    _endpoint_row("user-fqdn", "WORD", "Specify user@domain | The name", IdType.ID_USER_FQDN),
)

# --- keys of names ----------------------------------------------------------------------------


def _without_key(keyring: Keyring, arguments: Arguments) -> Keyring:
    gone = arguments.text("hostname")
    return replace(keyring, keys=tuple(key for key in keyring.keys if key.hostname != gone))


def _with_key(keyring: Keyring, arguments: Arguments) -> Keyring:
    key = PreSharedKey("", "", arguments.text("key"), arguments.text("hostname"))
    return replace(keyring, keys=(*_without_key(keyring, arguments).keys, key))


def _show_keys(keyring: Keyring) -> list[Shown]:
    return [shown(hostname=key.hostname, key=key.key) for key in keyring.keys if key.hostname]


def _default(config: RunningConfig) -> Keyring:
    return config.keyrings.get(DEFAULT_KEYRING, Keyring(DEFAULT_KEYRING))


def _add_default_key(config: RunningConfig, arguments: Arguments) -> RunningConfig:
    filled = _with_key(_default(config), arguments)
    return replace(config, keyrings={**config.keyrings, DEFAULT_KEYRING: filled})


def _remove_default_key(config: RunningConfig, arguments: Arguments) -> RunningConfig:
    kept = _without_key(_default(config), arguments)
    others = {name: one for name, one in config.keyrings.items() if name != DEFAULT_KEYRING}
    return replace(config, keyrings={**others, kept.name: kept} if kept.keys else others)


# --- dead peer detection ----------------------------------------------------------------------


def _keepalive_row(grammar: str, help_text: str, *, periodic: bool) -> Row:
    """`crypto isakmp keepalive` of one kind."""

    def edit(config: RunningConfig, arguments: Arguments) -> RunningConfig:
        interval, retry = arguments.number("interval"), arguments.number("retry", DPD_RETRY)
        return replace(config, keepalive=Keepalive(interval, retry, periodic))

    def read(config: RunningConfig) -> list[Shown]:
        held = config.keepalive
        if held is None or held.periodic is not periodic:
            return []
        return [shown(interval=held.interval, retry=held.retry)]

    return GLOBAL.row(
        grammar,
        "Set a keepalive interval for use with IOS peers | Number of seconds between keep alives"
        f" | Number of seconds between retries{help_text}",
        edit,
        lambda config, _: replace(config, keepalive=None),
        read,
        no="crypto isakmp keepalive",
    )


KEEPALIVE_ROWS = (
    _keepalive_row(
        "crypto isakmp keepalive <10-3600>:interval [<2-60>:retry] periodic",
        " | keepalives are sent periodically",
        periodic=True,
    ),
    _keepalive_row(
        "crypto isakmp keepalive <10-3600>:interval [<2-60>:retry] [on-demand:demand]",
        " | keepalives are sent on demand",
        periodic=False,
    ),
)

KEY_OF_NAME_ROW = KEYRING.row(
    "pre-shared-key hostname WORD:hostname key WORD:key",
    "Specify a pre-shared key to be used for IKE authentication | Define shared key by hostname"
    " | The name that the peer gives as its identity | Specify a key | The pre-shared key",
    _with_key,
    _without_key,
    _show_keys,
    no="pre-shared-key hostname WORD:hostname [key WORD:key]",
)

AGGRESSIVE_ROWS = (
    GLOBAL.row(
        "crypto isakmp key WORD:key hostname WORD:hostname",
        "Set pre-shared key for remote peer | The UNENCRYPTED (cleartext) user password"
        " | define shared key with hostname | The name that the peer gives as its identity",
        _add_default_key,
        _remove_default_key,
        lambda config: _show_keys(_default(config)),
        no="crypto isakmp key WORD:key hostname WORD:hostname",
    ),
    GLOBAL.row(
        "crypto isakmp aggressive-mode disable",
        "ISAKMP aggressive mode | Disable aggressive mode (here the default)",
        lambda config, _: replace(config, aggressive_mode=False),
        lambda config, _: replace(config, aggressive_mode=True),
        lambda config: [Shown(Arguments(), negative=True)] if config.aggressive_mode else [],
    ),
    PEER.enter(
        "crypto isakmp peer address A.B.C.D:address",
        "Set peer policy | Peer address | IP address of the peer",
    ),
)
