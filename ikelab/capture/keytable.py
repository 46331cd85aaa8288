"""The Wireshark configuration directory that goes with a capture: file name -> text.

`WIRESHARK_CONFIG_DIR=lab.wireshark wireshark lab.pcapng` then shows IKE and ESP decrypted, nodes
by name, and one column for each question a reader has. Formats as Wireshark 4.0 reads them; the
tests ask tshark. The directory holds every session key: it is to be written with mode 0600.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ikelab.isakmp.events import InstallIpsecSa, KeyMaterial
from ikelab.isakmp.policy import TransformSet
from ikelab.wire.numbers import AuthAlgorithm, EspTransform

# The names of Wireshark's own choice lists (epan/dissectors/packet-ipsec.c).
_CIPHERS = {
    EspTransform.ESP_DES: "DES-CBC [RFC2405]",
    EspTransform.ESP_3DES: "TripleDES-CBC [RFC2451]",
    EspTransform.ESP_AES: "AES-CBC [RFC3602]",
    EspTransform.ESP_NULL: "NULL",
}
_INTEGRITY = {
    None: "NULL",
    AuthAlgorithm.HMAC_MD5: "HMAC-MD5-96 [RFC2403]",
    AuthAlgorithm.HMAC_SHA: "HMAC-SHA-1-96 [RFC2404]",
    AuthAlgorithm.HMAC_SHA2_256: "HMAC-SHA-256-128 [RFC4868]",
    AuthAlgorithm.HMAC_SHA2_384: "HMAC-SHA-384-192 [RFC4868]",
    AuthAlgorithm.HMAC_SHA2_512: "HMAC-SHA-512-256 [RFC4868]",
}

_COLUMNS = (
    ("No.", "%m"),
    ("Time", "%Rt"),
    ("Segment", "%Cus:frame.interface_name:0:R"),
    ("Source", "%s"),
    ("Destination", "%d"),
    ("Protocol", "%p"),
    ("Payloads", "%Cus:isakmp.typepayload:0:R"),
    ("Comment", "%Cus:frame.comment:0:R"),
    ("Info", "%i"),
)

# SCEP attributes (RFC 8894 section 3.2.1) and the name attribute of IOS's router certificates,
# which Wireshark does not know. Of pkcs7-data it knows too much: it takes the content for mail and
# calls it malformed; in SCEP it is the enveloped ContentInfo.
_VERISIGN = "2.16.840.1.113733.1.9"
_OIDS = (
    (f"{_VERISIGN}.2", "scep-messageType", "PrintableString"),
    (f"{_VERISIGN}.3", "scep-pkiStatus", "PrintableString"),
    (f"{_VERISIGN}.4", "scep-failInfo", "PrintableString"),
    (f"{_VERISIGN}.5", "scep-senderNonce", "OctetString"),
    (f"{_VERISIGN}.6", "scep-recipientNonce", "OctetString"),
    (f"{_VERISIGN}.7", "scep-transactionID", "PrintableString"),
    ("1.2.840.113549.1.9.2", "pkcs-9-at-unstructuredName", "IA5String"),
    ("1.2.840.113549.1.7.1", "pkcs7-data", "ContentInfo"),
)

# SCEP's media types (RFC 8894 section 4) and the dissectors, under their short names.
_DECODE_AS = (
    ("application/x-pki-message", "CMS"),
    ("application/x-x509-ca-ra-cert", "CMS"),
    ("application/x-x509-ca-cert", "PKIX Certificate"),
)

_COLORS = (  # name, display filter, background, foreground: 16 bits each of red, green, blue
    ("refused", 'frame.comment contains "refused"', (65535, 49151, 49151), (32768, 0, 0)),
    ("IKE main mode", "isakmp.exchangetype == 2", (57343, 61439, 65535), (0, 0, 0)),
    ("IKE quick mode", "isakmp.exchangetype == 32", (57343, 65535, 57343), (0, 0, 0)),
    ("IKE informational", "isakmp.exchangetype == 5", (65535, 65535, 53247), (0, 0, 0)),
    ("ESP", "esp", (61439, 61439, 61439), (24576, 24576, 24576)),
    ("SCEP", "http.content_type contains pki || x509af", (65535, 57343, 65535), (0, 0, 0)),
)

_BUTTONS = (  # label, display filter, comment
    ("IKE", "isakmp", "every ISAKMP message"),
    ("ESP", "esp", "what the tunnels carry"),
    ("PKI", "http || x509af", "enrollment, CRLs"),
    ("refused", 'frame.comment contains "refused"', "messages that a node refused"),
)


SKEYID_FILE = "ikelab_skeyid"
"""SKEYID by initiator cookie, for `explain signature`; Wireshark does not read it."""


@dataclass(frozen=True, slots=True)
class IkeKey:
    """Ka of one ISAKMP SA: exactly the cipher's key length, else Wireshark shows nothing.

    skeyid: for HASH_I and HASH_R, which Wireshark does not compute.
    """

    cky_i: bytes
    encryption_key: bytes = field(repr=False)
    skeyid: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, material: KeyMaterial) -> IkeKey:
        """The row for what the engine reports."""
        skeyid = dict(material.others).get("skeyid", b"")
        return cls(material.cky_i, material.encryption_key, skeyid)


@dataclass(frozen=True, slots=True)
class EspKey:
    """One direction's ESP SA. source, destination: dotted addresses of the ESP packets."""

    source: str
    destination: str
    spi: bytes
    transform: TransformSet
    encryption_key: bytes = field(repr=False)
    authentication_key: bytes = field(repr=False)

    @classmethod
    def pair_of(cls, request: InstallIpsecSa) -> tuple[EspKey, EspKey]:
        """The rows (inbound, outbound) for a pair that went into a data plane."""
        local, remote = request.local.address, request.remote.address
        inbound, outbound = request.inbound, request.outbound
        return (
            cls(
                remote,
                local,
                inbound.spi,
                request.transform,
                inbound.encryption_key,
                inbound.authentication_key,
            ),
            cls(
                local,
                remote,
                outbound.spi,
                request.transform,
                outbound.encryption_key,
                outbound.authentication_key,
            ),
        )


def wireshark_directory(
    *,
    ike: Iterable[IkeKey] = (),
    esp: Iterable[EspKey] = (),
    hosts: Sequence[tuple[str, str]] = (),
) -> Mapping[str, str]:
    """Every file of the directory that has something to say.

    ike, esp: both ends may report the same SA; it is written once. hosts: (dotted address, name).
    """
    ike = list(ike)
    files = {
        "ikev1_decryption_table": _lines(dict.fromkeys(_ike_row(key) for key in ike)),
        SKEYID_FILE: _lines(
            dict.fromkeys(f"{key.cky_i.hex()},{key.skeyid.hex()}" for key in ike if key.skeyid)
        ),
        "esp_sa": _lines(dict.fromkeys(_esp_row(key) for key in esp)),
        "preferences": _preferences(),
        "hosts": _lines(f"{address} {name}" for address, name in hosts),
        "decode_as_entries": _lines(
            f"decode_as_entry: media_type,{media_type},(none),{dissector}"
            for media_type, dissector in _DECODE_AS
        ),
        "oid": _lines(_quoted(row) for row in _OIDS),
        "colorfilters": _lines(_color_row(*row) for row in _COLORS),
        "dfilter_buttons": _lines(_quoted(("TRUE", *row)) for row in _BUTTONS),
    }
    # tshark 4.0 calls a hosts file without a name one that "could not be opened".
    return {name: text for name, text in files.items() if text}


def _ike_row(key: IkeKey) -> str:
    """Initiator cookie and Ka, hexadecimal, not quoted."""
    return f"{key.cky_i.hex()},{key.encryption_key.hex()}"


def _esp_row(key: EspKey) -> str:
    """Protocol, addresses, SPI, algorithms and keys, all quoted."""
    return _quoted(
        (
            "IPv4",
            key.source,
            key.destination,
            f"0x{key.spi.hex()}",
            _CIPHERS[key.transform.encryption],
            f"0x{key.encryption_key.hex()}",
            _INTEGRITY[key.transform.authentication],
            f"0x{key.authentication_key.hex()}" if key.authentication_key else "",
        )
    )


def _preferences() -> str:
    """Decryption on, names of this directory's hosts file only, our columns."""
    columns = ", ".join(f'"{title}", "{content}"' for title, content in _COLUMNS)
    return _lines(
        (
            "esp.enable_encryption_decode: TRUE",
            "esp.enable_authentication_check: TRUE",
            "nameres.network_name: TRUE",
            "nameres.hosts_file_handling: TRUE",
            "gui.column.format:",
            f"\t{columns}",
        )
    )


def _color_row(
    name: str, expression: str, background: tuple[int, ...], foreground: tuple[int, ...]
) -> str:
    """`@name@filter@[r,g,b][r,g,b]`, background first."""
    colors = "".join("[" + ",".join(map(str, color)) + "]" for color in (background, foreground))
    return f"@{name}@{expression}@{colors}"


def _quoted(fields: Iterable[str]) -> str:
    """A row of a Wireshark table. Quotes and backslashes are written as \\xNN there."""
    return ",".join(
        '"' + text.replace("\\", "\\x5c").replace('"', "\\x22") + '"' for text in fields
    )


def _lines(rows: Iterable[str]) -> str:
    return "".join(f"{row}\n" for row in rows)
