"""The kinds of words that rows name: choices with their values, and parameters by their capitals.

Help texts are IOS's own where a public trace shows them. Weak are the words that a lab in
`mode: modern` refuses: DES, 3DES, MD5, SHA-1, groups under 2048 bits, RSA keys under 2048 bits.
"""

from __future__ import annotations

from collections.abc import Mapping

from ikelab.ios import parameters as kind
from ikelab.ios.grammar import Kind
from ikelab.ios.parameters import choice
from ikelab.ios.zone import LAST
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

_DIFFIE_HELLMAN = {
    Group.MODP_768: "Diffie-Hellman group 1 (768 bit)",
    Group.MODP_1024: "Diffie-Hellman group 2 (1024 bit)",
    Group.MODP_1536: "Diffie-Hellman group 5 (1536 bit)",
    Group.MODP_2048: "Diffie-Hellman group 14 (2048 bit)",
    Group.MODP_3072: "Diffie-Hellman group 15 (3072 bit)",
    Group.MODP_4096: "Diffie-Hellman group 16 (4096 bit)",
    Group.ECP_256: "Diffie-Hellman group 19 (256 bit ecp)",
    Group.ECP_384: "Diffie-Hellman group 20 (384 bit ecp)",
    Group.ECP_521: "Diffie-Hellman group 21 (521 bit ecp)",
}

CIPHERS = choice(
    {
        "3des": (EncryptionAlgorithm.TRIPLE_DES_CBC, "Three key triple DES"),
        "des": (EncryptionAlgorithm.DES_CBC, "DES - Data Encryption Standard (56 bit keys)."),
    },
    weak={"3des": "3DES", "des": "DES"},
)
HASHES = choice(
    {
        "md5": (HashAlgorithm.MD5, "Message Digest 5"),
        "sha": (HashAlgorithm.SHA, "Secure Hash Standard"),
        "sha256": (HashAlgorithm.SHA2_256, "Secure Hash Standard 2 (256 bit)"),
        "sha384": (HashAlgorithm.SHA2_384, "Secure Hash Standard 2 (384 bit)"),
        "sha512": (HashAlgorithm.SHA2_512, "Secure Hash Standard 2 (512 bit)"),
    },
    weak={"md5": "MD5", "sha": "SHA-1"},
)
AUTHENTICATIONS = choice(
    {
        "pre-share": (AuthMethod.PRE_SHARED_KEY, "Pre-Shared Key"),
        "rsa-sig": (AuthMethod.RSA_SIG, "Rivest-Shamir-Adleman Signature"),
    }
)
GROUPS = choice(
    {str(int(group)): (group, text) for group, text in _DIFFIE_HELLMAN.items()},
    weak={"1": "group 1", "2": "group 2", "5": "group 5"},
)
PFS_GROUPS = choice(
    {f"group{int(group)}": (group, text) for group, text in _DIFFIE_HELLMAN.items()},
    weak={"group1": "group 1", "group2": "group 2", "group5": "group 5"},
)
IDENTITIES = choice(
    {
        "address": (IdType.ID_IPV4_ADDR, "Use the IP address of the interface for the identity"),
        "dn": (IdType.ID_DER_ASN1_DN, "Use the distinguished name of the router cert"),
        "hostname": (IdType.ID_FQDN, "Use the hostname of the router for the identity"),
    }
)
ESP_CIPHERS = choice(
    {
        "esp-3des": (EspTransform.ESP_3DES, "ESP transform using 3DES(EDE) cipher (168 bits)"),
        "esp-des": (EspTransform.ESP_DES, "ESP transform using DES cipher (56 bits)"),
        "esp-null": (EspTransform.ESP_NULL, "ESP transform w/o cipher"),
    },
    weak={"esp-3des": "3DES", "esp-des": "DES", "esp-null": "ESP without a cipher"},
)
ESP_HASHES = choice(
    {
        "esp-md5-hmac": (AuthAlgorithm.HMAC_MD5, "ESP transform using HMAC-MD5 auth"),
        "esp-sha-hmac": (AuthAlgorithm.HMAC_SHA, "ESP transform using HMAC-SHA auth"),
        "esp-sha256-hmac": (AuthAlgorithm.HMAC_SHA2_256, "ESP transform using HMAC-SHA256 auth"),
        "esp-sha384-hmac": (AuthAlgorithm.HMAC_SHA2_384, "ESP transform using HMAC-SHA384 auth"),
        "esp-sha512-hmac": (AuthAlgorithm.HMAC_SHA2_512, "ESP transform using HMAC-SHA512 auth"),
    },
    weak={"esp-md5-hmac": "HMAC-MD5", "esp-sha-hmac": "HMAC-SHA-1"},
)
MODES = choice(
    {
        "transport": (EncapsulationMode.TRANSPORT, "transport (payload encapsulation) mode"),
        "tunnel": (EncapsulationMode.TUNNEL, "tunnel (datagram encapsulation) mode"),
    }
)
AES_BITS = choice(
    {
        "128": (128, "128 bit keys."),
        "192": (192, "192 bit keys."),
        "256": (256, "256 bit keys."),
    }
)
DIGESTS = choice(
    {
        "md5": ("md5", "use md5 hash algorithm"),
        "sha1": ("sha1", "use sha1 hash algorithm"),
        "sha256": ("sha256", "use sha256 hash algorithm"),
        "sha384": ("sha384", "use sha384 hash algorithm"),
        "sha512": ("sha512", "use sha512 hash algorithm"),
    },
    weak={"md5": "MD5", "sha1": "SHA-1"},
)
REVOCATION = choice(
    {
        "crl": ("crl", "Revocation check by CRL"),
        "none": ("none", "Ignore revocation check"),
    }
)
KEY_CIPHERS = choice(
    {
        "3des": ("3des", "Use 3des encryption to protect the private key"),
        "aes": ("aes", "Use AES-256 to protect the private key"),
    },
    weak={"3des": "3DES"},
)
DATABASE_LEVELS = choice(
    {
        "complete": ("complete", "Each issued certificate is saved to the database"),
        "minimum": ("minimum", "Minimum certificate info is saved to the database"),
        "names": ("names", "Certificate serial-number & subject name is saved to the database"),
    }
)
WEEKS = choice(
    {
        **{str(n): (n, "Week number of the month") for n in range(1, LAST)},
        "first": (1, "First week of the month"),
        "last": (LAST, "Last week of the month"),
    }
)

KINDS: Mapping[str, Kind] = {
    "WORD": kind.WORD,
    "LABEL": kind.LABEL,
    "HOSTNAME": kind.HOSTNAME,
    "DOMAIN": kind.DOMAIN,
    "LINE": kind.LINE,
    "NAMES": kind.NAMES,
    "DN": kind.NAME_LINE,
    "HTTP_URL": kind.HTTP_URL,
    "STORAGE_URL": kind.STORAGE_URL,
    "FINGERPRINT": kind.FINGERPRINT,
    "TYPE7": kind.TYPE7,
    "MONTH": kind.MONTH,
    "WEEKDAY": kind.WEEKDAY,
    "TIME": kind.TIME_OF_DAY,
    "HHMM": kind.HOUR_AND_MINUTE,
    "WEEK": WEEKS,
    "SERIAL": kind.Serial(),
    "IFNAME": kind.InterfaceName(),
    "A.B.C.D": kind.Address(),
    "HOURS": kind.Number(-23, 23, weak_below=-23),
    "MODULUS": kind.Number(360, 4096, weak_below=2048, unit="an RSA modulus of"),
    "CIPHER": CIPHERS,
    "HASH": HASHES,
    "AUTHENTICATION": AUTHENTICATIONS,
    "GROUP": GROUPS,
    "PFS_GROUP": PFS_GROUPS,
    "IDENTITY": IDENTITIES,
    "ESP_CIPHER": ESP_CIPHERS,
    "ESP_HASH": ESP_HASHES,
    "MODE": MODES,
    "AES_BITS": AES_BITS,
    "DIGEST": DIGESTS,
    "REVOCATION": REVOCATION,
    "DATABASE_LEVEL": DATABASE_LEVELS,
    "KEY_CIPHER": KEY_CIPHERS,
}
