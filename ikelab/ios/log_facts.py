"""The debug line, or lines, of each fact that the IKE engine traces, by the fact's name.

Texts are the guide's (12.4 images) or those of public traces of IOS. A fact that has no line of
IOS has none here; `log_isakmp.py` then prints it as our own. {c}: conn-id, {peer}: its address,
other names: the trace's values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ikelab.errors import PkiError
from ikelab.ios.text import visible
from ikelab.pki.name import format_name, name_values
from ikelab.wire import vendor_id
from ikelab.wire.numbers import IdType, NotifyType

Values = Mapping[str, str]
"""The trace's values, already safe to print, with {c} and {peer}."""

_VENDORS = {
    "NAT-T RFC 3947": (vendor_id.NAT_T_RFC_3947, "NAT-T RFC 3947"),
    "NAT-T draft-07": (vendor_id.NAT_T_DRAFT_07, "NAT-T v7"),
    "NAT-T draft-03": (vendor_id.NAT_T_DRAFT_03, "NAT-T v3"),
    "NAT-T draft-02": (vendor_id.NAT_T_DRAFT_02, "NAT-T v2"),
    "DPD": (b"", "DPD"),
    "Cisco Unity": (b"", "Unity"),
}
# The newer two of the four have their connection in the older style.
_OLDER_STYLE = ("NAT-T RFC 3947", "NAT-T draft-07")
_NOTIFIES: Mapping[int, str] = {
    NotifyType.NO_PROPOSAL_CHOSEN: "PROPOSAL_NOT_CHOSEN",
    NotifyType.R_U_THERE: "DPD/R_U_THERE",
    NotifyType.R_U_THERE_ACK: "DPD/R_U_THERE_ACK",
}
_SUBJECT_NAMES = {"cn", "ou", "o", "c", "l", "st"}

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "sa-request-profile": ("ISAKMP:({c}): SA request profile is {profile}",),
    "aggressive-mode-not-started": (
        "ISAKMP:({c}):Can not start Aggressive mode, trying Main mode.",
    ),
    "peer-key-found": (
        "ISAKMP:({c}):found peer pre-shared key matching {peer}",
        "ISAKMP:({c}): local preshared key found",
    ),
    "beginning-aggressive-mode": ("ISAKMP:({c}): beginning Aggressive Mode exchange",),
    "beginning-main-mode": ("ISAKMP:({c}): beginning Main Mode exchange",),
    "xauth-profile": ("ISAKMP : Looking for xauth in profile {profile}",),
    "scanning-profiles": ("ISAKMP : Scanning profiles for xauth ... {profiles}",),
    "constructed-nat-t": ("ISAKMP:({c}): constructed NAT-T vendor-{variant} ID",),
    # One NAT-D payload each: what is known of both ends after it.
    "no-nat-found": (
        "ISAKMP:received payload type {payload}",
        "ISAKMP ({c}): No NAT Found for self or peer",
    ),
    "peer-hash-no-match": (
        "ISAKMP:received payload type {payload}",
        "ISAKMP ({c}): His hash no match - this node outside NAT",
    ),
    "own-hash-no-match": (
        "ISAKMP:received payload type {payload}",
        "ISAKMP ({c}): My hash no match - this node inside NAT",
    ),
    "both-inside-nat": (
        "ISAKMP:received payload type {payload}",
        "ISAKMP ({c}): NAT found, both nodes inside NAT",
    ),
    "address-not-in-cert": ("ISAKMP:({c}):My ID configured as IPv4 Addr, but Addr not in Cert!",),
    "using-fqdn": ("ISAKMP:({c}):Using FQDN as My ID",),
    "send-initial-contact": ("ISAKMP:({c}):Send initial contact",),
    "beginning-quick-mode": (
        "ISAKMP:({c}):beginning Quick Mode exchange, M-ID of {message_id}",
        "ISAKMP:({c}):QM Initiator gets spi",
    ),
    "responder-gets-spi": ("ISAKMP:({c}):QM Responder gets spi",),
    "creating-ipsec-sas": ("ISAKMP:({c}): Creating IPSec SAs",),
    "node-deleted": ('ISAKMP:({c}):deleting node {message_id} error FALSE reason "{reason}"',),
    "node-purged": ("ISAKMP:({c}):purging node {message_id}",),
}


def fact_lines(name: str, values: Values) -> list[str] | None:
    """The lines of a fact; None where IOS has none, or a value that they need is missing."""
    if "message_id" in values:
        values = {**values, "message_id": signed(int(values["message_id"]))}
    try:
        if name in TEMPLATES:
            return [template.format_map(values) for template in TEMPLATES[name]]
        return _MAKERS[name](values) if name in _MAKERS else None
    except (KeyError, ValueError):
        return None


def signed(message_id: int) -> str:
    """IOS prints message IDs as signed numbers of 32 bits."""
    return str(message_id - (1 << 32) if message_id >> 31 else message_id)


# --- peers and SAs --------------------------------------------------------------------------------


def _inserted(values: Values) -> list[str]:
    """IOS prints addresses of its memory here; ours are the handles of peer and SA."""
    peer, initiator = f"0x{int(values['struct']):X}", values["initiator"] == "1"
    handle = f"0x{0x80000000 + int(values['struct']):08X}"
    port = values["remote_port"]
    user = "isakmp_initiator" if initiator else "crypto_isakmp_process_block"
    sa = f"sa = {int(values['sa']):X}"
    lines = []
    if values["new"] == "1":
        lines.append(f"ISAKMP: Created a peer struct for {values['peer']}, peer port {port}")
        lines.append(f"ISAKMP: New peer created peer = {peer} peer_handle = {handle}")
    lines.append(f"ISAKMP: Locking peer struct {peer}, refcount {values['count']} for {user}")
    lines.append(f"ISAKMP: local port {values['local_port']}, remote port {port}")
    if initiator:
        return [*lines, "ISAKMP: set new node 0 to QM_IDLE", f"insert sa successfully {sa}"]
    # 12.4 inserts a responder's SA twice: the second time it finds the first.
    dup = "ISAKMP: Find a dup sa in the avl tree during calling isadb_insert"
    return [*lines, f"{dup} {sa}"]


def _removed(values: Values) -> list[str]:
    peer, count = f"{int(values['struct']):X}", values["count"]
    lines = []
    if values["initiator"] == "0" and values["incoming"] == "0":
        text = "Can't decrement IKE Call Admission Control stat incoming_active since it's"
        lines.append(f"ISAKMP:(0):{text} already 0.")
    text = f"Unlocking peer struct 0x{peer} for isadb_mark_sa_deleted(), count {count}"
    lines.append(f"ISAKMP: {text}")
    if count == "0":
        lines.append(f"ISAKMP: Deleting peer node by peer_reap for {values['peer']}: {peer}")
    return lines


def _key_found(values: Values) -> list[str]:
    if values["keyring"] == "default":
        text = f"found peer pre-shared key matching {values['peer']}"
    else:
        text = f"Found ADDRESS key in keyring {values['keyring']}"
    return [f"ISAKMP:({values['c']}):{text}"]


# --- proposals ------------------------------------------------------------------------------------

_CIPHERS = {1: "DES-CBC", 5: "3DES-CBC", 7: "AES-CBC"}
_HASHES = {1: "MD5", 2: "SHA", 4: "SHA256", 5: "SHA384", 6: "SHA512"}
_AUTHS = {1: "pre-share", 2: "DSS sig", 3: "RSA sig", 4: "RSA encr"}
_LIVES = {1: "seconds", 2: "kilobytes"}
_ESP = {2: "ESP_DES", 3: "ESP_3DES", 11: "ESP_NULL", 12: "ESP_AES"}
_MODES = {1: "Tunnel", 2: "Transport", 3: "Tunnel-UDP", 4: "Transport-UDP"}
_MODES |= {61443: "Tunnel-UDP", 61444: "Transport-UDP"}
_HMACS = {1: "HMAC-MD5", 2: "HMAC-SHA", 5: "HMAC-SHA256", 6: "HMAC-SHA384", 7: "HMAC-SHA512"}


def _duration(value: str) -> str:
    """A lifetime: basic, or its octets one by one."""
    if not value.startswith("0x"):
        return f"(basic) of {value}"
    return "(VPI) of  " + " ".join(f"0x{octet:X}" for octet in bytes.fromhex(value[2:]))


def _number(value: str) -> int:
    return int(value, 16) if value.startswith("0x") else int(value)


def _attributes(values: Values, words: Mapping[int, Callable[[str], str]]) -> list[str]:
    """A line an attribute, in the order of the wire; one without a line of IOS has none."""
    pairs = (written.partition("=") for written in values["attributes"].split())
    return [
        f"ISAKMP:      {words[int(kind)](value)}" for kind, _, value in pairs if int(kind) in words
    ]


def _named(names: Mapping[int, str]) -> Callable[[str], str]:
    return lambda value: names.get(_number(value), f"unknown ({_number(value)})")


_IKE_WORDS: Mapping[int, Callable[[str], str]] = {
    1: lambda value: f"encryption {_named(_CIPHERS)(value)}",
    2: lambda value: f"hash {_named(_HASHES)(value)}",
    3: lambda value: f"auth {_named(_AUTHS)(value)}",
    4: lambda value: f"default group {_number(value)}",
    11: lambda value: f"life type in {_named(_LIVES)(value)}",
    12: lambda value: f"life duration {_duration(value)}",
    14: lambda value: f"keylength of {_number(value)}",
}
_IPSEC_WORDS: Mapping[int, Callable[[str], str]] = {
    1: lambda value: f"SA life type in {_named(_LIVES)(value)}",
    2: lambda value: f"SA life duration {_duration(value)}",
    3: lambda value: f"group is {_number(value)}",
    4: lambda value: f"encaps is {_number(value)} ({_named(_MODES)(value)})",
    5: lambda value: f"authenticator is {_named(_HMACS)(value)}",
    6: lambda value: f"key length is {_number(value)}",
}


def _transform(values: Values) -> list[str]:
    c, transform, priority = values["c"], values["transform"], values["priority"]
    head = f"ISAKMP:({c}):Checking ISAKMP transform {transform} against priority {priority} policy"
    lines = [head, *_attributes(values, _IKE_WORDS)]
    following = f"Next payload is {values['next']}"
    if not values["text"]:
        return [*lines, f"ISAKMP:({c}):atts are acceptable. {following}"]
    lines.append(f"ISAKMP:({c}):{values['text']}")
    return [*lines, f"ISAKMP:({c}):atts are not acceptable. {following}"]


def _lifetime(values: Values) -> list[str]:
    c, lifetime, octets = values["c"], values["lifetime"], int(values["octets"])
    # What the SA's life was before: it had none.
    texts = ["Acceptable atts:actual life: 0", "Acceptable atts:life: 0"]
    if octets:
        texts.append(f"Fill atts in sa vpi_length:{octets}")
        texts.append(f"Fill atts in sa life_in_seconds:{lifetime}")
    else:
        texts.append(f"Basic life_in_seconds:{lifetime}")
    texts.append(f"Returning Actual lifetime: {lifetime}")
    texts.append(f":Started lifetime timer: {lifetime}.")
    return [f"ISAKMP:({c}):{text}" for text in texts]


def _ipsec_transform(values: Values) -> list[str]:
    c, name = values["c"], _ESP.get(int(values["transform_id"]), f"({values['transform_id']})")
    lines = [
        f"ISAKMP:({c}):Checking IPSec proposal {values['proposal']}",
        f"ISAKMP: transform {values['transform']}, {name}",
        "ISAKMP:   attributes in transform:",
        *_attributes(values, _IPSEC_WORDS),
    ]
    if values["text"]:  # 256: the transform is none that this identity may use
        return [*lines, f"ISAKMP:({c}): IPSec policy invalidated proposal with error 256"]
    return [*lines, f"ISAKMP:({c}):atts are acceptable."]


# --- payloads -------------------------------------------------------------------------------------

_PLAIN = {"SA", "KE", "NONCE", "ID", "CERT", "SIG", "HASH"}


def _processing(values: Values) -> list[str]:
    c, payload, message_id = values["c"], values["payload"], values["message_id"]
    if payload in _PLAIN:
        return [f"ISAKMP:({c}): processing {payload} payload. message ID = {message_id}"]
    if payload == "NOTIFY":
        kind = int(values["type"])
        known = kind in NotifyType.__members__.values()
        name = _NOTIFIES.get(kind, NotifyType(kind).name if known else str(kind))
        name = name.replace("-", "_")
        text = f"processing NOTIFY {name} protocol {values['protocol_id']}"
        sa = f"sa = {int(values['sa']):X}"
        return [f"ISAKMP:({c}): {text}\n\tspi 0, message ID = {message_id}, {sa}"]
    paranoid = f"ISAKMP:({c}):peer does not do paranoid keepalives."
    if payload == "DELETE":
        text = f"ISAKMP:({c}): processing DELETE payload. message ID = {message_id}"
        return [text, paranoid]
    if payload == "DELETE_WITH_REASON":
        return [*_delete_with_reason(values), paranoid]
    return []


def _delete_with_reason(values: Values) -> list[str]:
    c, message_id = values["c"], values["message_id"]
    reason = "reason: Unknown delete reason!"  # no name of a reason is public
    return [
        "ISAKMP:received payload type 18",
        f"ISAKMP:({c}):Processing delete with reason payload",
        f"ISAKMP:({c}):delete doi = {values['doi']}",
        f"ISAKMP:({c}):delete protocol id = {values['protocol_id']}",
        f"ISAKMP:({c}):delete spi_size =  {values['spi_size']}",
        f"ISAKMP:({c}):delete num spis = {values['spis']}",
        f"ISAKMP:({c}):delete_reason = {values['reason']}",
        f"ISAKMP:({c}): processing DELETE_WITH_REASON payload, message ID = {message_id}, {reason}",
    ]


def _vendor(values: Values) -> list[str] | None:
    c, vendor = values["c"], values["vendor"]
    if vendor == "ikelab":
        text = f"ISAKMP:({c}): speaking to another IOS box!"
        return [f"ISAKMP:({c}): processing vendor id payload", text]
    octets, name = _VENDORS[vendor]
    lines = [f"ISAKMP:({c}): processing vendor id payload"]
    if octets:
        # IOS compares the first octets with Unity's and DPD's and calls octet 14 the major version.
        text = f"vendor ID seems Unity/DPD but major {octets[14]} mismatch"
        lines.append(f"ISAKMP:({c}): {text}")
    head = f"ISAKMP (0:{c})" if vendor in _OLDER_STYLE else f"ISAKMP:({c})"
    return [*lines, f"{head}: vendor ID is {name}"]


# --- certificates and identities ------------------------------------------------------------------


def dn(name: str) -> str:
    """A DER name in hexadecimal, for people; the digits where a peer sent no such name."""
    try:
        return visible(format_name(bytes.fromhex(name)))
    except (PkiError, ValueError):
        return name[:64] or "any CA"


def _wanted(values: Values) -> list[str]:
    c, trustpoint = values["c"], values.get("trustpoint", "")
    if trustpoint:
        choice = f"Choosing trustpoint {trustpoint} as issuer"
    else:
        choice = f"ISAKMP:({c}): issuer name is not a trusted root."
    return [
        f"ISAKMP:({c}): processing CERT_REQ payload. message ID = 0",
        f"ISAKMP:({c}): peer wants a CT_X509_SIGNATURE cert",
        f"ISAKMP:({c}): peer wants cert issued by {dn(values['authority'])}",
        choice,
    ]


def _request(values: Values) -> list[str]:
    return [f"ISAKMP (0:{values['c']}): constructing CERT_REQ for issuer {dn(values['authority'])}"]


def _signing(values: Values) -> list[str]:
    c, trustpoint = values["c"], values["trustpoint"]
    return [
        f"ISAKMP (0:{c}): constructing CERT payload for {dn(values['subject'])}",
        f"ISAKMP:({c}): using the {trustpoint} trustpoint's keypair to sign",
    ]


def _my_id(values: Values) -> list[str] | None:
    c, kind = values["c"], IdType(int(values["type"])).name
    method = "RSA signature" if values["signing"] == "1" else "pre-shared key"
    dump = _id_dump(values)
    if dump is None:
        return None
    return [
        f"ISAKMP:({c}):SA is doing {method} authentication using id type {kind}",
        dump,
        f"ISAKMP:({c}):Total payload length: {values['length']}",
    ]


def _peer_id(values: Values) -> list[str] | None:
    dump = _id_dump(values)
    return None if dump is None else [dump]


_ID_LABELS = {
    IdType.ID_IPV4_ADDR: "address",
    IdType.ID_FQDN: "FQDN name",
    IdType.ID_USER_FQDN: "USER FQDN",
}


def _id_dump(values: Values) -> str | None:
    """The dump of an ID payload, of the types whose octets are their text."""
    kind = int(values["type"])
    label = _ID_LABELS.get(IdType(kind)) if kind in IdType.__members__.values() else None
    if label is None:
        return None
    return (
        f"ISAKMP (0:{values['c']}): ID payload\n"
        f"\tnext-payload : {values['next']}\n"
        f"\ttype         : {kind}\n"
        f"\t{label:<12} : {values['id']}\n"
        f"\tprotocol     : {values['protocol']}\n"
        f"\tport         : {values['port']}\n"
        f"\tlength       : {values['length']}"
    )


def _profile(values: Values) -> list[str]:
    if values["profile"] == "*none*":
        return ["ISAKMP:(0):: peer matches *none* of the profiles"]
    return [f"ISAKMP:(0):: peer matches {values['profile']} profile"]


def _certificate(values: Values) -> list[str]:
    c = values["c"]
    return [
        f"ISAKMP:({c}): processing CERT payload. message ID = 0",
        f"ISAKMP:({c}): processing a CT_X509_SIGNATURE cert",
        f"ISAKMP:({c}): peer's pubkey isn't cached",
    ]


def _signature(values: Values) -> list[str]:
    signed_by = subject_lines(values["c"], values["subject"])
    return [*signed_by, f"ISAKMP:({values['c']}): processing SIG payload. message ID = 0"]


def subject_lines(c: str, subject: str) -> list[str]:
    """What IOS misses in the subject of a certificate. subject: DER, in hexadecimal."""
    try:
        known = {key for key in _SUBJECT_NAMES if name_values(bytes.fromhex(subject), key)}
    except (PkiError, ValueError):
        known = set()
    lines = [] if known else [f"ISAKMP:({c}): Unable to get DN from certificate!"]
    if "ou" not in known:
        lines.append(f"ISAKMP:({c}): Cert presented by peer contains no OU field.")
    return lines


def _authenticated(values: Values) -> list[str]:
    c, peer = values["c"], values["peer"]
    ends = f"{values['local']}/{peer}/{values['port']}/"
    handle = f"{int(values['struct']):X}"
    return [
        f"ISAKMP:({c}):SA authentication status:\n\tauthenticated",
        f"ISAKMP:({c}):SA has been authenticated with {peer}",
        f"ISAKMP: Trying to insert a peer {ends},  and inserted successfully {handle}.",
    ]


def _repeat(values: Values) -> list[str]:
    phase = 1 if values["message_id"] == "0" else 2
    text = f"phase {phase} packet is a duplicate of a previous packet."
    return [f"ISAKMP:({values['c']}): {text}"]


_MAKERS: Mapping[str, Callable[[Values], list[str] | None]] = {
    "sa-inserted": _inserted,
    "sa-removed": _removed,
    "key-found": _key_found,
    "transform-checked": _transform,
    "lifetime-started": _lifetime,
    "ipsec-transform-checked": _ipsec_transform,
    "processing": _processing,
    "vendor-id": _vendor,
    "peer-wants-cert": _wanted,
    "constructing-cert-req": _request,
    "using-trustpoint": _signing,
    "my-id": _my_id,
    "peer-id": _peer_id,
    "peer-profile": _profile,
    "peer-certificate": _certificate,
    "peer-signature": _signature,
    "authenticated": _authenticated,
    "repeat": _repeat,
}


def joined(values: Iterable[tuple[str, str]]) -> str:
    """Values of a fact that has no line of IOS."""
    return " ".join(f"{name}={value}" for name, value in values)
