"""Rows of the command table: RSA keys, `crypto pki trustpoint`."""

from __future__ import annotations

from dataclasses import replace

from ikelab.errors import ConfigError
from ikelab.ios.arguments import Arguments
from ikelab.ios.config import RunningConfig
from ikelab.ios.row import Mode, Shown, named_section, shown
from ikelab.ios.server_commands import SERVER_ENTRY
from ikelab.ios.system_commands import GLOBAL
from ikelab.ios.type7 import decode_type7, encode_type7
from ikelab.pki.config import TrustpointConfig

TRUSTPOINT = named_section(Mode.CA_TRUSTPOINT, "trustpoints", TrustpointConfig)


def _name(arguments: Arguments) -> str:
    return arguments.text("name")


_NOBODY_PASTES = "auto-enroll has no effect with enrollment terminal: nobody is there to paste"

# --- crypto pki trustpoint --------------------------------------------------------------------


def _set_terminal(trustpoint: TrustpointConfig, arguments: Arguments) -> TrustpointConfig:
    """In place of a URL, as in IOS the last of the two holds."""
    if trustpoint.auto_enroll is not None:
        raise ConfigError(_NOBODY_PASTES, hint="`no auto-enroll` first")
    form = "pem" if "pem" in arguments else "base64"
    return replace(trustpoint, terminal=form, enrollment_url=None)


def _show_terminal(trustpoint: TrustpointConfig) -> list[Shown]:
    if trustpoint.terminal is None:
        return []
    return [shown(pem="pem" if trustpoint.terminal == "pem" else None)]


def _set_auto_enroll(trustpoint: TrustpointConfig, arguments: Arguments) -> TrustpointConfig:
    if trustpoint.terminal is not None:
        raise ConfigError(_NOBODY_PASTES, hint="`enrollment url` enrolls by itself")
    return replace(
        trustpoint,
        auto_enroll=arguments.number("percent", 100),
        regenerate="regenerate" in arguments,
    )


def _show_auto_enroll(trustpoint: TrustpointConfig) -> list[Shown]:
    if trustpoint.auto_enroll is None:
        return []
    percent = None if trustpoint.auto_enroll == 100 else trustpoint.auto_enroll
    return [shown(percent=percent, regenerate="regenerate" if trustpoint.regenerate else None)]


def _set_revocation(trustpoint: TrustpointConfig, arguments: Arguments) -> TrustpointConfig:
    methods = [arguments.text(name) for name in ("first", "second") if name in arguments]
    if methods in (["none", "crl"], ["none", "none"], ["crl", "crl"]):
        raise ConfigError(
            f"revocation-check {' '.join(methods)}: the second method can never be reached",
            hint="`crl`, `none` or `crl none`",
        )
    return replace(trustpoint, revocation_check=tuple(methods))


def _show_revocation(trustpoint: TrustpointConfig) -> list[Shown]:
    methods = (*trustpoint.revocation_check, None)
    return [shown(first=methods[0], second=methods[1])]


def _set_password(trustpoint: TrustpointConfig, arguments: Arguments) -> TrustpointConfig:
    if "encrypted" in arguments:
        return replace(trustpoint, password=decode_type7(arguments.text("encrypted")))
    return replace(trustpoint, password=arguments.text("password"))


def _set_fqdn(trustpoint: TrustpointConfig, arguments: Arguments) -> TrustpointConfig:
    if arguments.text("fqdn").lower() == "none":
        raise ConfigError("fqdn none is not supported", hint="every request carries a name here")
    return replace(trustpoint, fqdn=arguments.text("fqdn"))


TRUSTPOINT_ROWS = (
    TRUSTPOINT.row(
        "enrollment retry count <1-100>:retry_count",
        "Enrollment parameters | Polling parameters | How many times to poll CA for our certificate"
        " | Number of retries",
        lambda trustpoint, arguments: replace(
            trustpoint, retry_count=arguments.number("retry_count")
        ),
        lambda trustpoint, _: replace(trustpoint, retry_count=10),
        lambda t: [] if t.retry_count == 10 else [shown(retry_count=t.retry_count)],
    ),
    TRUSTPOINT.row(
        "enrollment retry period <1-60>:minutes",
        "How long to wait between requests to CA for our certificate | Minutes between requests",
        lambda trustpoint, arguments: replace(
            trustpoint, retry_period=60 * arguments.number("minutes")
        ),
        lambda trustpoint, _: replace(trustpoint, retry_period=60),
        lambda t: [] if t.retry_period == 60 else [shown(minutes=t.retry_period // 60)],
    ),
    TRUSTPOINT.row(
        "enrollment url HTTP_URL:enrollment_url",
        "CA server enrollment URL | URL of the CA server, http://HOST[:PORT]",
        lambda trustpoint, arguments: replace(
            trustpoint, enrollment_url=arguments.text("enrollment_url"), terminal=None
        ),
        lambda trustpoint, _: replace(trustpoint, enrollment_url=None),
        lambda t: [] if t.enrollment_url is None else [shown(enrollment_url=t.enrollment_url)],
    ),
    TRUSTPOINT.row(
        "enrollment terminal [pem:pem]",
        "Enroll via the terminal (cut-and-paste) | Include PEM encapsulation boundaries",
        _set_terminal,
        lambda trustpoint, _: replace(trustpoint, terminal=None),
        _show_terminal,
    ),
    TRUSTPOINT.attribute(
        "enrollment fallback LABEL:fallback",
        "Trustpoint to enroll with while this CA gives no answer | Trustpoint name",
        "fallback",
    ),
    TRUSTPOINT.row(
        "chain-validation stop",
        "Certificate chain validation | The CA of this trustpoint is trusted as it is",
        lambda trustpoint, _: replace(trustpoint, chain_validation="stop", parent=None),
        lambda trustpoint, _: replace(trustpoint, chain_validation="stop", parent=None),
        lambda _: [],
        no="chain-validation",
    ),
    TRUSTPOINT.row(
        "chain-validation continue [LABEL:parent]",
        "The CA of this trustpoint is validated too | Trustpoint of the CA above",
        lambda trustpoint, arguments: replace(
            trustpoint, chain_validation="continue", parent=arguments.text("parent") or None
        ),
        None,
        lambda t: [shown(parent=t.parent)] if t.chain_validation == "continue" else [],
    ),
    TRUSTPOINT.flag("serial-number", "include serial number in subject name", "serial_number"),
    TRUSTPOINT.row(
        "fqdn DOMAIN:fqdn",
        "include fully-qualified domain name | Fully-qualified domain name",
        _set_fqdn,
        lambda trustpoint, _: replace(trustpoint, fqdn=None),
        lambda t: [] if t.fqdn is None else [shown(fqdn=t.fqdn)],
    ),
    TRUSTPOINT.attribute(
        "ip-address A.B.C.D:ip_address", "include ip address | IP address", "ip_address"
    ),
    TRUSTPOINT.attribute(
        "fingerprint FINGERPRINT:fingerprint",
        "Fingerprint of the CA certificate | MD5, SHA1 or SHA256 in hexadecimal, blanks allowed",
        "fingerprint",
    ),
    TRUSTPOINT.attribute(
        "subject-name DN:subject_name",
        "Subject Name | Subject name such as cn=r1,o=example",
        "subject_name",
    ),
    TRUSTPOINT.row(
        "revocation-check REVOCATION:first [REVOCATION:second]",
        "Revocation checking options",
        _set_revocation,
        lambda trustpoint, _: replace(trustpoint, revocation_check=("crl",)),
        _show_revocation,
    ),
    TRUSTPOINT.attribute(
        "rsakeypair LABEL:rsakeypair",
        "Specify rsakeypair for this identity | RSA keypair label",
        "rsakeypair",
    ),
    TRUSTPOINT.row(
        "auto-enroll [<1-100>:percent] [regenerate:regenerate]",
        "Automatically enroll this router identity"
        " | Percentage of certificate lifetime at which to renew"
        " | Regenerate keys on re-enrollment",
        _set_auto_enroll,
        lambda trustpoint, _: replace(trustpoint, auto_enroll=None, regenerate=False),
        _show_auto_enroll,
    ),
    TRUSTPOINT.attribute("hash DIGEST:hash", "use specified hash algorithm", "hash"),
    TRUSTPOINT.row(
        "password 7 TYPE7:encrypted",
        "revocation password | Specifies a HIDDEN password will follow"
        " | The HIDDEN password string",
        _set_password,
        lambda trustpoint, _: replace(trustpoint, password=None),
        lambda t: [] if t.password is None else [shown(encrypted=encode_type7(t.password))],
        no="password [LINE:what]",
    ),
    TRUSTPOINT.row(
        "password [0] WORD:password",
        "Specifies an UNENCRYPTED password will follow | The UNENCRYPTED (cleartext) password",
        _set_password,
        None,
        lambda _: [],
    ),
)


def _remove_trustpoint(config: RunningConfig, key: str, arguments: Arguments) -> RunningConfig:
    name = arguments.text("name")
    if name not in config.trustpoints:
        raise ConfigError(f"Can't find trustpoint {name}")
    return TRUSTPOINT.remove(config, key, arguments)


def _add_key_pair(config: RunningConfig, arguments: Arguments) -> RunningConfig:
    label, bits = arguments.text("label"), arguments.number("modulus")
    marked = {label} if "exportable" in arguments else set()
    return replace(
        config,
        key_pairs={**config.key_pairs, label: bits},
        exportable=config.exportable - {label} | marked,
    )


def _show_key_pairs(config: RunningConfig) -> list[Shown]:
    return [
        shown(
            label=label,
            exportable="exportable" if label in config.exportable else None,
            modulus=bits,
        )
        for label, bits in config.key_pairs.items()
    ]


PKI_ROWS = (
    GLOBAL.attribute(
        "crypto pki crl cache size <1-16384>:crl_cache",
        "Public Key components | Certificate revocation lists | Memory they are kept in | Its size"
        " | Kilobytes, 64 by default; no larger CRL is fetched",
        "crl_cache",
    ),
    GLOBAL.row(
        "crypto key generate rsa [general-keys] label LABEL:label [exportable:exportable]"
        " modulus MODULUS:modulus",
        "Encryption module | Long term key operations | Generate new keys | Generate RSA keys"
        " | Generate a general purpose RSA key pair for signing and encryption"
        " | Provide a label | RSA keypair label | Allow the key to be exported"
        " | Provide number of modulus bits"
        " | size of the key modulus",
        _add_key_pair,
        None,
        _show_key_pairs,
        once=True,
    ),
    SERVER_ENTRY,
    TRUSTPOINT.enter(
        "crypto pki trustpoint LABEL:name",
        "Define a CA trustpoint | CA Server Name",
        remove=_remove_trustpoint,
    ),
)
