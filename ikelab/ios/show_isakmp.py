"""The texts of `show crypto isakmp sa`, `policy` and `drops`."""

from __future__ import annotations

from collections.abc import Iterator

from ikelab.ios.arguments import Arguments
from ikelab.ios.snapshot import IsakmpSaRow, NodeSnapshot
from ikelab.ios.text import span, visible
from ikelab.isakmp.policy import IsakmpPolicy
from ikelab.wire.numbers import AuthMethod, EncryptionAlgorithm, Group, HashAlgorithm

_CIPHER_WORDS = {
    EncryptionAlgorithm.DES_CBC: "des",
    EncryptionAlgorithm.TRIPLE_DES_CBC: "3des",
    EncryptionAlgorithm.AES_CBC: "aes",
}
_HASH_WORDS = {
    HashAlgorithm.MD5: "md5",
    HashAlgorithm.SHA: "sha",
    HashAlgorithm.SHA2_256: "sha256",
    HashAlgorithm.SHA2_384: "sha384",
    HashAlgorithm.SHA2_512: "sha512",
}
_AUTH_WORDS = {
    AuthMethod.PRE_SHARED_KEY: "psk",
    AuthMethod.RSA_SIG: "rsig",
    AuthMethod.RSA_ENC: "renc",
}
_CIPHER_TEXTS = {
    EncryptionAlgorithm.DES_CBC: "DES - Data Encryption Standard (56 bit keys).",
    EncryptionAlgorithm.TRIPLE_DES_CBC: "Three key triple DES",
}
_HASH_TEXTS = {
    HashAlgorithm.MD5: "Message Digest 5",
    HashAlgorithm.SHA: "Secure Hash Standard",
    HashAlgorithm.SHA2_256: "Secure Hash Standard 2 (256 bit)",
    HashAlgorithm.SHA2_384: "Secure Hash Standard 2 (384 bit)",
    HashAlgorithm.SHA2_512: "Secure Hash Standard 2 (512 bit)",
}
_AUTH_TEXTS = {
    AuthMethod.PRE_SHARED_KEY: "Pre-Shared Key",
    AuthMethod.RSA_SIG: "Rivest-Shamir-Adleman Signature",
}
_GROUP_TEXTS = {
    Group.MODP_768: "(768 bit)",
    Group.MODP_1024: "(1024 bit)",
    Group.MODP_1536: "(1536 bit)",
    Group.MODP_2048: "(2048 bit)",
    Group.MODP_3072: "(3072 bit)",
    Group.MODP_4096: "(4096 bit)",
    Group.ECP_256: "(256 bit)",
    Group.ECP_384: "(384 bit)",
    Group.ECP_521: "(521 bit)",
}
_CODES = (
    "Codes: C - IKE configuration mode, D - Dead Peer Detection",
    "       K - Keepalives, N - NAT-traversal",
    "       X - IKE Extended Authentication",
    "       psk - Preshared key, rsig - RSA signature",
    "       renc - RSA encryption",
)


def show_isakmp_sa(snapshot: NodeSnapshot, arguments: Arguments) -> Iterator[str]:
    """`show crypto isakmp sa [detail]`."""
    if "detail" in arguments:
        yield from _detail(snapshot.isakmp_sas)
    else:
        yield "IPv4 Crypto ISAKMP SA"
        yield "dst             src             state          conn-id slot status"
        for row in snapshot.isakmp_sas:
            # The guide's hub shows no profile, its spokes do: IOS has it where it began the SA.
            profile = f" {visible(row.profile)}" if row.profile and row.initiator else ""
            ends = f"{row.dst:<15} {row.src:<15} {row.state:<14}"
            yield f"{ends} {row.conn_id:>7} {0:>4} {row.status}{profile}"
    yield ""
    yield "IPv6 Crypto ISAKMP SA"
    yield ""


def _detail(rows: tuple[IsakmpSaRow, ...]) -> Iterator[str]:
    yield from _CODES
    yield "IPv4 Crypto ISAKMP SA"
    yield ""
    head = "C-id  Local           Remote          I-VRF    Status Encr Hash   Auth DH Lifetime Cap."
    yield head
    for number, row in enumerate(rows, start=1):
        ends = f"{row.conn_id:<5} {row.local:<15} {row.remote:<15}"
        yield f"{ends} {'':8} {row.status} {_agreed(row)}".rstrip()
        # The engine: ours is software; IOS numbers its own connections too.
        yield f"       Engine-id:Conn-id =  SW:{number}"


def _agreed(row: IsakmpSaRow) -> str:
    """Algorithms, time left and capabilities, once they are known."""
    policy = row.policy
    if policy is None:
        return ""
    words = (
        f"{_CIPHER_WORDS[policy.encryption]:<4} {_HASH_WORDS[policy.hash]:<6}"
        f" {_AUTH_WORDS.get(policy.authentication, '?'):<4} {int(policy.group):<2}"
    )
    left = span(row.remaining) if row.remaining is not None else "0"
    return f"{words} {left:<8} {'D' if row.dpd else ''}{'N' if row.nat else ''}"


def show_peers(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    """`show crypto isakmp peers`."""
    for row in snapshot.peers:
        yield f"Peer: {row.address} Port: {row.port} Local: {row.local}"
        if row.peer_id is not None:
            yield f" Phase1 id: {visible(row.peer_id)}"


_MATCHES = {"domain": "fqdn domain", "host": "fqdn", "address": "ip-address"}


def show_profiles(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    """`show crypto isakmp profile`; the references are the IPsec profiles that name it."""
    for name, profile in snapshot.config.profiles.items():
        users = [p for p in snapshot.config.ipsec_profiles.values() if p.isakmp_profile == name]
        yield ""
        yield f"ISAKMP PROFILE {name}"
        yield f"Ref Count = {len(users)}"
        yield "   Identities matched are:"
        for match in profile.match_identity:
            mask = f" {match.mask}" if match.kind == "address" else ""
            yield f"    {_MATCHES.get(match.kind, match.kind)} {match.value}{mask}"
        yield "   Certificate maps matched are:"
        yield f"   keyring(s): {profile.keyring or '<none>'}"
        yield "   trustpoint(s): <all>"


def show_keys(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    """`show crypto isakmp key`: with the keys, as IOS does at its console."""
    yield "Keyring      Hostname/Address                            Preshared Key"
    for name, keyring in snapshot.config.keyrings.items():
        yield ""
        for key in keyring.keys:
            mask = "" if key.mask in ("", "255.255.255.255") else f" [{key.mask}]"
            yield f"{name:<12} {key.hostname or key.address + mask:<43} {key.key}"


def show_policy(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    """`show crypto isakmp policy`; the default suite exists in legacy labs only."""
    yield ""
    yield "Global IKE policy"
    for priority in sorted(snapshot.config.policies):
        yield f"Protection suite of priority {priority}"
        yield from _suite(snapshot.config.policies[priority])
    if snapshot.mode == "legacy":
        yield "Default protection suite"
        yield from _suite(IsakmpPolicy(65535))


def _suite(policy: IsakmpPolicy) -> Iterator[str]:
    aes = f"AES - Advanced Encryption Standard ({policy.key_length} bit keys)."
    authentication = _AUTH_TEXTS.get(policy.authentication, policy.authentication.name)
    group = policy.group
    yield f"\tencryption algorithm:\t{_CIPHER_TEXTS.get(policy.encryption, aes)}"
    yield f"\thash algorithm:\t\t{_HASH_TEXTS[policy.hash]}"
    yield f"\tauthentication method:\t{authentication}"
    yield f"\tDiffie-Hellman group:\t#{int(group)} {_GROUP_TEXTS[group]}"
    yield f"\tlifetime:\t\t{policy.lifetime} seconds, no volume limit"


def show_drops(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    """`show crypto isakmp drops`: our own, most frequent first."""
    yield "Reason                              Count  Last"
    for row in sorted(snapshot.drops, key=lambda row: (-row.count, row.reason)):
        yield f"{row.reason:<34} {row.count:>6}  {visible(row.last)}".rstrip()


def show_admission(snapshot: NodeSnapshot, _: Arguments) -> Iterator[str]:
    """`show crypto call admission statistics`. The system resource limit is IOS's alone: 0."""
    held = snapshot.admission
    rejected = held.incoming_rejected + held.outgoing_rejected
    lines = (
        ("System Resource Limit", 0),
        ("Max IKE SAs", held.sa_limit),
        ("Max in nego", held.negotiation_limit),
        ("Total IKE SA Count", held.active + held.negotiating),
        ("active", held.active),
        ("negotiating", held.negotiating),
        ("Incoming IKE Requests", held.incoming_accepted + held.incoming_rejected),
        ("accepted", held.incoming_accepted),
        ("rejected", held.incoming_rejected),
        ("Outgoing IKE Requests", held.outgoing_accepted + held.outgoing_rejected),
        ("accepted", held.outgoing_accepted),
        ("rejected", held.outgoing_rejected),
        ("Rejected IKE Requests", rejected),
        ("rsrc low", 0),
        ("SA limit", rejected),
    )
    yield "-" * 69
    yield f"{'Crypto Call Admission Control Statistics':^69}".rstrip()
    yield "-" * 69
    for first, second, third in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        yield (
            f"{first[0] + ':':<23}{first[1]:>8}  {second[0] + ':':<13}{second[1]:>6}"
            f"  {third[0] + ':':<13}{third[1]:>4}"
        )
