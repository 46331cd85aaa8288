"""What the user configures for PKI: trustpoints and certificate servers, in IOS's words."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class TrustpointConfig:
    """`crypto pki trustpoint NAME`.

    fingerprint: upper-case hexadecimal without blanks: 32 digits MD5, 40 SHA-1 or 64 SHA-256.
    revocation_check: methods in order, of "crl" and "none". auto_enroll: per cent of the
    certificate's life after which to renew, None: enroll by command only. retry_period: seconds
    between polls; retry_count: how many. fallback: the trustpoint to enroll with instead while this
    one's CA gives no answer; IOS has no such command, there somebody types `crypto pki enroll`.
    chain_validation: "stop", the trustpoint's CA is trusted as it is, or "continue", it is itself
    checked up to its root, which trustpoint `parent` holds (None: this one).
    terminal: `enrollment terminal`, cut and paste; requests are then printed in "base64" or as
    "pem". password: challenge of a first enrollment, a one-time password or the word to ask a
    revocation with.
    """

    name: str
    enrollment_url: str | None = None
    fingerprint: str | None = None
    revocation_check: tuple[str, ...] = ("crl",)
    rsakeypair: str | None = None
    auto_enroll: int | None = None
    regenerate: bool = False
    fqdn: str | None = None
    subject_name: str | None = None
    serial_number: bool = False
    ip_address: str | None = None
    hash: str = "sha256"
    retry_period: int = 60
    retry_count: int = 10
    fallback: str | None = None
    terminal: str | None = None
    password: str | None = field(default=None, repr=False)
    chain_validation: str = "stop"
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class CertServerConfig:
    """`crypto pki server NAME`. mode: "root", "sub-cs" or "ra" (its trustpoint has the same name).

    grant: "manual", "auto" or "ra-auto" (what an RA has granted, nothing else). database_level:
    "minimum", "names" or "complete". database_url: `ftp://[user[:password]@]host[/dir]`, None:
    nvram. cdp_url: put in every certificate issued. auto_rollover: how long before its end the
    shadow certificate is made, None: off. crl_version: 1 or 2, None: as `crl_version` says. IOS has
    no command for it; its CRLs of 2009 are of version 1. certrep_ca: the CA's certificate goes with
    each issued one, as some clients want it and others do not take it; nor has IOS a command here.
    """

    name: str
    enabled: bool = False
    issuer_name: str | None = None
    mode: str = "root"
    grant: str = "manual"
    grant_auto_rollover_ca_cert: bool = False
    database_level: str = "minimum"
    database_url: str | None = None
    archive_password: str | None = field(default=None, repr=False)
    lifetime_certificate: timedelta = timedelta(days=365)
    lifetime_ca_certificate: timedelta = timedelta(days=1095)
    lifetime_crl: timedelta = timedelta(hours=6)
    cdp_url: str | None = None
    auto_rollover: timedelta | None = None
    hash: str = "sha256"
    crl_version: int | None = None
    certrep_ca: bool = False
