"""Assigned numbers of ISAKMP, IKEv1 and the IPsec DOI, under their RFC names.

Sources: RFC 2408 (ISAKMP), RFC 2409 (IKE), RFC 2407 (IPsec DOI), RFC 3526 and RFC 5903 (groups),
RFC 3602, RFC 4868 (AES, SHA-2), RFC 3706 (DPD), RFC 3947 (NAT traversal), the IANA registries
"isakmp-registry" and "ipsec-registry". Values that only vendors use say so.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

ISAKMP_PORT = 500  # UDP
NAT_T_PORT = 4500  # RFC 3947 section 4: IKE and ESP together


class PayloadType(IntEnum):
    """ISAKMP next payload (RFC 2408 section 3.1)."""

    NONE = 0
    SA = 1
    PROPOSAL = 2
    TRANSFORM = 3
    KE = 4
    ID = 5
    CERT = 6
    CERT_REQ = 7
    HASH = 8
    SIG = 9
    NONCE = 10
    NOTIFY = 11
    DELETE = 12
    VENDOR_ID = 13
    MODE_CONFIG = 14  # draft-dukes-ike-mode-cfg
    NAT_D_DRAFT_07 = 15  # draft-ietf-ipsec-nat-t-ike-04 to -08; later SAK of RFC 3547 (GDOI)
    NAT_OA_DRAFT_07 = 16
    DELETE_WITH_REASON = 18  # Cisco; the number is SEQ in RFC 3547 (GDOI)
    NAT_D = 20  # RFC 3947
    NAT_OA = 21  # RFC 3947
    NAT_D_DRAFT = 130  # draft-ietf-ipsec-nat-t-ike-02, -03
    NAT_OA_DRAFT = 131
    FRAGMENT = 132  # Cisco IKE fragmentation


class ExchangeType(IntEnum):
    """RFC 2408 section 3.1, RFC 2409 appendix A."""

    NONE = 0
    BASE = 1
    IDENTITY_PROTECTION = 2
    AUTHENTICATION_ONLY = 3
    AGGRESSIVE = 4
    INFORMATIONAL = 5
    TRANSACTION = 6  # mode configuration
    QUICK = 32
    NEW_GROUP = 33


class Flags(IntFlag):
    """ISAKMP header flags (RFC 2408 section 3.1)."""

    NONE = 0
    ENCRYPTION = 1
    COMMIT = 2
    AUTHENTICATION_ONLY = 4


class Doi(IntEnum):
    """Domain of interpretation."""

    ISAKMP = 0
    IPSEC = 1


class Situation(IntFlag):
    """RFC 2407 section 4.2."""

    IDENTITY_ONLY = 1
    SECRECY = 2
    INTEGRITY = 4


class ProtocolId(IntEnum):
    """Protocol of a proposal (RFC 2407 section 4.4.1)."""

    RESERVED = 0
    ISAKMP = 1
    AH = 2
    ESP = 3
    IPCOMP = 4


class IsakmpTransform(IntEnum):
    """RFC 2407 section 4.4.2."""

    KEY_IKE = 1


class EspTransform(IntEnum):
    """RFC 2407 section 4.4.4, RFC 3602."""

    ESP_DES = 2
    ESP_3DES = 3
    ESP_NULL = 11
    ESP_AES = 12


class IkeAttribute(IntEnum):
    """Phase 1 attribute classes (RFC 2409 appendix A)."""

    ENCRYPTION_ALGORITHM = 1
    HASH_ALGORITHM = 2
    AUTHENTICATION_METHOD = 3
    GROUP_DESCRIPTION = 4
    GROUP_TYPE = 5
    GROUP_PRIME = 6
    GROUP_GENERATOR_ONE = 7
    GROUP_GENERATOR_TWO = 8
    GROUP_CURVE_A = 9
    GROUP_CURVE_B = 10
    LIFE_TYPE = 11
    LIFE_DURATION = 12
    PRF = 13
    KEY_LENGTH = 14
    FIELD_SIZE = 15
    GROUP_ORDER = 16


class EncryptionAlgorithm(IntEnum):
    """RFC 2409 appendix A, RFC 3602."""

    DES_CBC = 1
    TRIPLE_DES_CBC = 5
    AES_CBC = 7


class HashAlgorithm(IntEnum):
    """RFC 2409 appendix A, RFC 4868."""

    MD5 = 1
    SHA = 2
    SHA2_256 = 4
    SHA2_384 = 5
    SHA2_512 = 6


class AuthMethod(IntEnum):
    """RFC 2409 appendix A."""

    PRE_SHARED_KEY = 1
    DSS_SIG = 2
    RSA_SIG = 3
    RSA_ENC = 4
    RSA_REVISED_ENC = 5


class Group(IntEnum):
    """Diffie-Hellman groups (RFC 2409 section 6, RFC 3526, RFC 5903)."""

    MODP_768 = 1
    MODP_1024 = 2
    MODP_1536 = 5
    MODP_2048 = 14
    MODP_3072 = 15
    MODP_4096 = 16
    ECP_256 = 19
    ECP_384 = 20
    ECP_521 = 21


WEAK_GROUPS = (Group.MODP_768, Group.MODP_1024, Group.MODP_1536)
"""Those under 112 bits of security (NIST SP 800-131A)."""


class LifeType(IntEnum):
    """Seconds or kilobytes, in phase 1 and 2 alike."""

    SECONDS = 1
    KILOBYTES = 2


class IpsecAttribute(IntEnum):
    """Phase 2 attribute classes (RFC 2407 section 4.5)."""

    SA_LIFE_TYPE = 1
    SA_LIFE_DURATION = 2
    GROUP_DESCRIPTION = 3
    ENCAPSULATION_MODE = 4
    AUTHENTICATION_ALGORITHM = 5
    KEY_LENGTH = 6
    KEY_ROUNDS = 7


class EncapsulationMode(IntEnum):
    """RFC 2407 section 4.5, RFC 3947 section 5."""

    TUNNEL = 1
    TRANSPORT = 2
    UDP_TUNNEL = 3
    UDP_TRANSPORT = 4


class AuthAlgorithm(IntEnum):
    """ESP integrity algorithms (RFC 2407 section 4.5, RFC 4868)."""

    HMAC_MD5 = 1
    HMAC_SHA = 2
    HMAC_SHA2_256 = 5
    HMAC_SHA2_384 = 6
    HMAC_SHA2_512 = 7


class IdType(IntEnum):
    """RFC 2407 section 4.6.2.1."""

    ID_IPV4_ADDR = 1
    ID_FQDN = 2
    ID_USER_FQDN = 3
    ID_IPV4_ADDR_SUBNET = 4
    ID_IPV6_ADDR = 5
    ID_IPV6_ADDR_SUBNET = 6
    ID_IPV4_ADDR_RANGE = 7
    ID_IPV6_ADDR_RANGE = 8
    ID_DER_ASN1_DN = 9
    ID_DER_ASN1_GN = 10
    ID_KEY_ID = 11


class CertEncoding(IntEnum):
    """RFC 2408 section 3.9."""

    NONE = 0
    PKCS7 = 1
    PGP = 2
    DNS = 3
    X509_SIGNATURE = 4
    X509_KEY_EXCHANGE = 5
    KERBEROS = 6
    CRL = 7
    ARL = 8
    SPKI = 9
    X509_ATTRIBUTE = 10


class NotifyType(IntEnum):
    """RFC 2408 section 3.14.1, RFC 2407 section 4.6.3, RFC 3706."""

    INVALID_PAYLOAD_TYPE = 1
    DOI_NOT_SUPPORTED = 2
    SITUATION_NOT_SUPPORTED = 3
    INVALID_COOKIE = 4
    INVALID_MAJOR_VERSION = 5
    INVALID_MINOR_VERSION = 6
    INVALID_EXCHANGE_TYPE = 7
    INVALID_FLAGS = 8
    INVALID_MESSAGE_ID = 9
    INVALID_PROTOCOL_ID = 10
    INVALID_SPI = 11
    INVALID_TRANSFORM_ID = 12
    ATTRIBUTES_NOT_SUPPORTED = 13
    NO_PROPOSAL_CHOSEN = 14
    BAD_PROPOSAL_SYNTAX = 15
    PAYLOAD_MALFORMED = 16
    INVALID_KEY_INFORMATION = 17
    INVALID_ID_INFORMATION = 18
    INVALID_CERT_ENCODING = 19
    INVALID_CERTIFICATE = 20
    CERT_TYPE_UNSUPPORTED = 21
    INVALID_CERT_AUTHORITY = 22
    INVALID_HASH_INFORMATION = 23
    AUTHENTICATION_FAILED = 24
    INVALID_SIGNATURE = 25
    ADDRESS_NOTIFICATION = 26
    NOTIFY_SA_LIFETIME = 27
    CERTIFICATE_UNAVAILABLE = 28
    UNSUPPORTED_EXCHANGE_TYPE = 29
    UNEQUAL_PAYLOAD_LENGTHS = 30
    CONNECTED = 16384
    RESPONDER_LIFETIME = 24576
    REPLAY_STATUS = 24577
    INITIAL_CONTACT = 24578
    R_U_THERE = 36136
    R_U_THERE_ACK = 36137


class IpProtocol(IntEnum):
    """IP protocol numbers that proxies name."""

    ANY = 0
    ICMP = 1
    UDP = 17
    GRE = 47
    ESP = 50
