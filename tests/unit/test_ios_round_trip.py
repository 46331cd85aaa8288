"""Whatever configuration there can be: printed, it is read back as the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from ikelab.ios.config import (
    InterfaceConfig,
    RunningConfig,
    StaticRoute,
    TunnelConfig,
)
from ikelab.ios.config_text import format_config, read_config
from ikelab.ios.zone import Stamps, Summer, Times, Turn, Zone
from ikelab.isakmp.policy import (
    AdmissionLimits,
    AggressivePeer,
    IdentityMatch,
    IpsecProfile,
    IsakmpPolicy,
    IsakmpProfile,
    Keepalive,
    Keyring,
    PreSharedKey,
    TransformSet,
)
from ikelab.pki.config import CertServerConfig, TrustpointConfig
from ikelab.wire.numbers import (
    AuthAlgorithm,
    AuthMethod,
    EncapsulationMode,
    EncryptionAlgorithm,
    EspTransform,
    Group,
    HashAlgorithm,
    IdType,
)

LABELS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,10}", fullmatch=True)
SECRETS = st.from_regex(r"[!-~]{1,12}", fullmatch=True).filter(lambda text: text != "!")
HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
DOMAINS = st.from_regex(r"[a-z0-9]{1,5}\.[a-z]{2,4}", fullmatch=True)
ADDRESSES = st.ip_addresses(v=4).map(str)
# A lone ! begins a comment, so no text that begins with one can have been read.
LINES = st.from_regex(r"[\"-~]([ -~]{0,20}[!-~])?", fullmatch=True)
SPANS = st.builds(
    timedelta,
    days=st.integers(0, 1825),
    hours=st.integers(0, 23),
    minutes=st.integers(1, 59),
)
HOST_MASK = "255.255.255.255"


def named(builder: object, keys: st.SearchStrategy[object]) -> st.SearchStrategy[dict]:
    """A dictionary of at most two sections, each carrying its key as its name."""
    return st.dictionaries(keys, builder, max_size=2).map(
        lambda found: {
            key: replace(one, **{"name" if isinstance(key, str) else "priority": key})
            for key, one in found.items()
        }
    )


POLICIES = st.builds(
    IsakmpPolicy,
    st.just(1),
    st.sampled_from(list(EncryptionAlgorithm)),
    st.sampled_from([128, 192, 256]),
    st.sampled_from(list(HashAlgorithm)),
    st.sampled_from([AuthMethod.PRE_SHARED_KEY, AuthMethod.RSA_SIG]),
    st.sampled_from(list(Group)),
    st.integers(60, 86400),
).map(lambda p: p if p.encryption is EncryptionAlgorithm.AES_CBC else replace(p, key_length=None))
TRANSFORM_SETS = st.builds(
    TransformSet,
    st.just(""),
    st.sampled_from(list(EspTransform)),
    st.sampled_from([128, 192, 256]),
    st.none() | st.sampled_from(list(AuthAlgorithm)),
    st.sampled_from([EncapsulationMode.TRANSPORT, EncapsulationMode.TUNNEL]),
).map(lambda t: t if t.encryption is EspTransform.ESP_AES else replace(t, key_length=None))
MATCHES = st.builds(IdentityMatch, st.just("address"), ADDRESSES, ADDRESSES) | st.builds(
    IdentityMatch, st.sampled_from(["domain", "host"]), DOMAINS
)
# One kind a profile: the order among kinds is not kept, for it has no meaning.
PROFILES = st.builds(
    IsakmpProfile,
    st.just(""),
    st.lists(MATCHES, max_size=3, unique=True).map(
        lambda found: tuple(
            sorted(found, key=lambda m: ["domain", "host", "address"].index(m.kind))
        )
    ),
    st.none() | LABELS,
)
KEYRINGS = st.builds(
    Keyring,
    st.just(""),
    st.lists(
        st.builds(PreSharedKey, ADDRESSES, ADDRESSES, SECRETS)
        | st.builds(PreSharedKey, st.just(""), st.just(""), SECRETS, DOMAINS),
        min_size=1,
        max_size=3,
        unique_by=lambda key: (key.address, key.mask, key.hostname),
        # Keys of addresses come first: the order among the two kinds has no meaning.
    ).map(lambda keys: tuple(sorted(keys, key=lambda key: bool(key.hostname)))),
)
IPSEC_PROFILES = st.builds(
    IpsecProfile,
    st.just(""),
    st.lists(LABELS, max_size=3, unique=True).map(tuple),
    st.none() | LABELS,
    st.integers(120, 86400),
    st.integers(2560, 4294967295),
    st.none() | st.sampled_from(list(Group)),
)
TRUSTPOINTS = (
    st.builds(
        TrustpointConfig,
        st.just(""),
        st.none() | st.just("http://192.0.2.1:12345/cgi"),
        st.none() | st.from_regex(r"[0-9A-F]{32}|[0-9A-F]{40}|[0-9A-F]{64}", fullmatch=True),
        st.sampled_from([("crl",), ("none",), ("crl", "none")]),
        st.none() | LABELS,
        st.none() | st.integers(1, 100),
        st.booleans(),
        st.none() | DOMAINS,
        st.none() | st.sampled_from(["cn=a", "cn=a b,o=c, ou=d"]),
        st.booleans(),
        st.none() | ADDRESSES,
        st.sampled_from(["md5", "sha1", "sha256", "sha384", "sha512"]),
        st.integers(1, 60).map(lambda minutes: 60 * minutes),
        st.integers(1, 100),
        st.none() | LABELS,
        st.sampled_from([None, None, "base64", "pem"]),
        chain_validation=st.sampled_from(["stop", "continue"]),
        parent=st.none() | LABELS,
    )
    .map(lambda t: replace(t, parent=None) if t.chain_validation == "stop" else t)
    .map(lambda t: replace(t, enrollment_url=None, auto_enroll=None) if t.terminal else t)
    .map(lambda t: t if t.auto_enroll else replace(t, regenerate=False))
)
SERVERS = st.builds(
    CertServerConfig,
    st.just(""),
    st.booleans(),
    st.none() | st.just("cn=root-ca,o=Example"),
    st.sampled_from(["root", "sub-cs"]),
    st.sampled_from(["manual", "auto"]),
    st.booleans(),
    st.sampled_from(["minimum", "names", "complete"]),
    st.none() | st.sampled_from(["ftp://192.0.2.1", "ftp://u:p@h.example:2121/d"]),
    st.none() | SECRETS,
    SPANS,
    SPANS,
    st.integers(1, 336 * 60).map(lambda minutes: timedelta(minutes=minutes)),
    st.none() | st.just("http://192.0.2.9/x.crl"),
    st.none() | SPANS | st.just(timedelta(days=30)),
    st.sampled_from(["md5", "sha1", "sha256", "sha384", "sha512"]),
    st.none() | st.integers(1, 2),
    st.booleans(),
)
TUNNELS = st.builds(
    TunnelConfig,
    st.none() | ADDRESSES | st.just("GigabitEthernet0/0"),
    st.none() | ADDRESSES,
    st.none() | st.integers(0, 4294967295),
    st.just("gre ip"),
    st.none() | LABELS,
)
PORTS = st.builds(
    InterfaceConfig,
    st.just(""),
    st.just("192.0.2.1"),
    st.sampled_from(["255.255.255.0", "255.255.255.252", HOST_MASK]),
    st.booleans(),
    st.none() | st.integers(68, 9216),
    st.none() | LINES,
    TUNNELS,
)


def fitting(found: dict[str, InterfaceConfig]) -> dict[str, InterfaceConfig]:
    """Interfaces as a parser leaves them: tunnels on Tunnels only."""
    return {
        name: one if name.startswith("Tunnel") else replace(one, tunnel=None)
        for name, one in found.items()
    }


INTERFACES = named(
    PORTS | PORTS.map(lambda port: replace(port, address=None, mask=None)),
    st.sampled_from(["GigabitEthernet0/0", "FastEthernet1/0", "Ethernet3", "Tunnel1", "Tunnel12"]),
).map(fitting)

AGGRESSIVE_PEERS = st.dictionaries(
    ADDRESSES,
    st.builds(AggressivePeer, st.just(""), st.just(IdType.ID_FQDN), DOMAINS, st.none() | SECRETS)
    | st.builds(AggressivePeer, st.just(""), st.just(IdType.ID_USER_FQDN), st.just("a@b.example"))
    | st.builds(AggressivePeer, st.just(""), st.just(IdType.ID_IPV4_ADDR), ADDRESSES)
    | st.builds(AggressivePeer, st.just("")),
    max_size=2,
).map(lambda found: {address: replace(peer, address=address) for address, peer in found.items()})


def _is_sayable(minutes: int) -> bool:
    """IOS has the sign on the hours, so nothing between none and one hour to the west."""
    return not -60 < minutes < 0


STAMPS = st.builds(Stamps, st.booleans(), st.booleans()) | st.just(Stamps(on=False))
TURNS = st.builds(
    Turn, st.integers(1, 5), st.integers(0, 6), st.integers(1, 12), st.integers(0, 1439)
)
MINUTES = st.datetimes(datetime(1993, 1, 1), datetime(2135, 12, 31), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(second=0, microsecond=0)
)
SUMMERS = (
    st.builds(Summer, LABELS)
    | st.builds(Summer, LABELS, TURNS, TURNS, st.integers(1, 1440))
    | st.tuples(LABELS, MINUTES, MINUTES, st.integers(1, 1440))
    .filter(lambda given: given[1] < given[2])
    .map(lambda given: Summer(*given))
)
TIMES = st.builds(
    Times,
    st.builds(Zone, LABELS, st.integers(-1439, 1439).filter(_is_sayable), st.none() | SUMMERS),
    STAMPS,
    STAMPS,
)

CONFIGS = st.builds(
    RunningConfig,
    HOSTS,
    st.none() | DOMAINS,
    st.dictionaries(LABELS, st.integers(360, 4096), max_size=2),
    named(SERVERS, LABELS),
    named(TRUSTPOINTS, LABELS),
    named(KEYRINGS, LABELS | st.just("default")),
    named(POLICIES, st.integers(1, 10000)),
    st.sampled_from([IdType.ID_IPV4_ADDR, IdType.ID_FQDN, IdType.ID_DER_ASN1_DN]),
    st.none() | st.builds(Keepalive, st.integers(10, 3600), st.integers(2, 60), st.booleans()),
    st.builds(AdmissionLimits, st.integers(0, 99999), st.just(0) | st.integers(10, 99999)),
    st.booleans(),
    AGGRESSIVE_PEERS,
    st.none() | st.integers(5, 3600),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    named(PROFILES, LABELS),
    named(TRANSFORM_SETS, LABELS),
    named(IPSEC_PROFILES, LABELS),
    INTERFACES,
    st.booleans(),
    st.just(80) | st.integers(1024, 65535),
    st.just(()) | st.just((StaticRoute("10.0.0.0", "255.0.0.0", "192.0.2.1"),)),
    crl_cache=st.just(64) | st.integers(1, 16384),
    times=TIMES,
).flatmap(
    lambda config: st.builds(
        lambda labels: replace(config, exportable=labels),
        st.sampled_from([frozenset(), frozenset(config.key_pairs)]),
    )
)


@settings(max_examples=150, deadline=None)
@given(CONFIGS)
def test_printed_configuration_is_read_back_as_the_same(config: RunningConfig) -> None:
    text = format_config(config)
    read = read_config(text, file="printed", mode="legacy")
    assert read.errors == ()
    assert read.config == config
