"""Rows of the command table: RSA keys, `crypto pki trustpoint`, `crypto pki server`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from ikelab.errors import ConfigError
from ikelab.ios.arguments import Arguments
from ikelab.ios.config import RunningConfig
from ikelab.ios.row import Mode, Row, Section, Shown, enter_row, shown, with_attribute
from ikelab.ios.system_commands import GLOBAL
from ikelab.ios.type7 import decode_type7, encode_type7
from ikelab.pki.config import CertServerConfig, TrustpointConfig

TRUSTPOINT: Section[TrustpointConfig] = Section(
    Mode.CA_TRUSTPOINT,
    lambda config, key: config.trustpoints[key],
    lambda config, key, new: replace(config, trustpoints={**config.trustpoints, key: new}),
)
SERVER: Section[CertServerConfig] = Section(
    Mode.CS_SERVER,
    lambda config, key: config.servers[key],
    lambda config, key, new: replace(config, servers={**config.servers, key: new}),
)


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


def _add_trustpoint(config: RunningConfig, _: str, arguments: Arguments) -> RunningConfig:
    name = _name(arguments)
    trustpoint = config.trustpoints.get(name, TrustpointConfig(name))
    return replace(config, trustpoints={**config.trustpoints, name: trustpoint})


def _remove_trustpoint(config: RunningConfig, _: str, arguments: Arguments) -> RunningConfig:
    name = _name(arguments)
    if name not in config.trustpoints:
        raise ConfigError(f"Can't find trustpoint {name}")
    return replace(config, trustpoints={n: t for n, t in config.trustpoints.items() if n != name})


# --- crypto pki server ------------------------------------------------------------------------


def _span(arguments: Arguments) -> timedelta:
    """Days, hours and minutes, of which none is no lifetime at all."""
    span = timedelta(
        days=arguments.number("days"),
        hours=arguments.number("hours"),
        minutes=arguments.number("minutes"),
    )
    if not span:
        raise ConfigError("a lifetime of zero", hint="at least one minute")
    return span


def _span_words(span: timedelta) -> dict[str, int | None]:
    """Days, then hours and minutes as far as needed."""
    minutes = span // timedelta(minutes=1) % 60
    hours = span // timedelta(hours=1) % 24
    return {
        "days": span.days,
        "hours": hours if hours or minutes else None,
        "minutes": minutes or None,
    }


def _lifetime_row(what: str, help_text: str, name: str, default: timedelta) -> Row:
    """`lifetime certificate` and `lifetime ca-certificate`: days, hours, minutes."""

    def read(server: CertServerConfig) -> Iterable[Shown]:
        span: timedelta = getattr(server, name)
        return [] if span == default else [shown(**_span_words(span))]

    return SERVER.row(
        f"lifetime {what} <0-7305>:days [<0-24>:hours [<0-59>:minutes]]",
        f"Lifetime parameters | {help_text} | Lifetime in days | Lifetime in hours"
        " | Lifetime in minutes",
        lambda server, arguments: with_attribute(server, name, _span(arguments)),
        lambda server, _: with_attribute(server, name, default),
        read,
    )


def _show_crl_lifetime(server: CertServerConfig) -> list[Shown]:
    minutes = server.lifetime_crl // timedelta(minutes=1)
    if server.lifetime_crl == timedelta(hours=6):
        return []
    return [shown(hours=minutes // 60, minutes=minutes % 60 or None)]


def _set_auto_rollover(server: CertServerConfig, arguments: Arguments) -> CertServerConfig:
    # IOS takes 30 days for the bare keyword.
    overlap = _span(arguments) if "days" in arguments else timedelta(days=30)
    return replace(server, auto_rollover=overlap)


def _show_auto_rollover(server: CertServerConfig) -> list[Shown]:
    if server.auto_rollover is None:
        return []
    if server.auto_rollover == timedelta(days=30):
        return [shown()]
    return [shown(**_span_words(server.auto_rollover))]


def _set_archive(server: CertServerConfig, arguments: Arguments) -> CertServerConfig:
    if "encrypted" in arguments:
        return replace(server, archive_password=decode_type7(arguments.text("encrypted")))
    return replace(server, archive_password=arguments.text("password"))


def _show_archive(server: CertServerConfig) -> list[Shown]:
    password = server.archive_password
    return [] if password is None else [shown(encrypted=encode_type7(password))]


def _no_archive(server: CertServerConfig, _: Arguments) -> CertServerConfig:
    return replace(server, archive_password=None)


def _set_database_url(server: CertServerConfig, arguments: Arguments) -> CertServerConfig:
    url = arguments.text("database_url")
    return replace(server, database_url=None if url == "nvram:" else url)


def _show_grant(server: CertServerConfig) -> list[Shown]:
    return [shown()] if server.grant == "auto" else []


def _mode_row(mode: str, help_text: str) -> Row:
    return SERVER.row(
        f"mode {mode}",
        help_text,
        lambda server, _: replace(server, mode=mode),
        lambda server, _: replace(server, mode="root"),
        lambda server: [shown()] if server.mode == mode else [],
    )


def _show_shutdown(server: CertServerConfig) -> list[Shown]:
    # A server is made shut down; the file says so when it is to run.
    return [Shown(Arguments(), negative=True)] if server.enabled else []


SERVER_ROWS = (
    SERVER.attribute(
        "database level DATABASE_LEVEL:database_level",
        "Certificate Server database config parameters | Level of data stored in database",
        "database_level",
    ),
    SERVER.row(
        "database archive pkcs12 password 7 TYPE7:encrypted",
        "archive CA certificate and key | Archive as PKCS12 format"
        " | Password to encrypt the archive | Specifies a HIDDEN password will follow"
        " | The HIDDEN password string",
        _set_archive,
        _no_archive,
        _show_archive,
        no="database archive [LINE:what]",
    ),
    SERVER.row(
        "database archive pkcs12 password [0] WORD:password",
        "Specifies an UNENCRYPTED password will follow | The UNENCRYPTED (cleartext) password",
        _set_archive,
        None,
        lambda _: [],
    ),
    SERVER.attribute(
        "issuer-name DN:issuer_name",
        "Issuer name | Issuer name such as cn=root-ca,o=example",
        "issuer_name",
    ),
    SERVER.flag(
        "grant auto rollover ca-cert",
        "Certificate granting options"
        " | Automatically grant incoming SCEP enrollment requests"
        " | Automatically grant rollover requests | Grant rollover requests of subordinate CAs",
        "grant_auto_rollover_ca_cert",
    ),
    replace(
        SERVER.row(
            "grant auto",
            "",
            lambda server, _: replace(server, grant="auto"),
            lambda server, _: replace(server, grant="manual"),
            _show_grant,
        ),
        notice="%PKI-6-CS_GRANT_AUTO: All enrollment requests will be automatically granted.",
    ),
    SERVER.row(
        "grant ra-auto",
        "Automatically grant requests from RAs",
        lambda server, _: replace(server, grant="ra-auto"),
        lambda server, _: replace(server, grant="manual"),
        lambda server: [shown()] if server.grant == "ra-auto" else [],
    ),
    SERVER.row(
        "lifetime crl <0-336>:hours [<0-59>:minutes]",
        "Lifetime of a CRL | Lifetime in hours | Lifetime in minutes",
        lambda server, arguments: replace(server, lifetime_crl=_span(arguments)),
        lambda server, _: replace(server, lifetime_crl=timedelta(hours=6)),
        _show_crl_lifetime,
    ),
    _lifetime_row(
        "certificate",
        "Lifetime of an issued certificate",
        "lifetime_certificate",
        timedelta(days=365),
    ),
    _lifetime_row(
        "ca-certificate",
        "Lifetime of the CA certificate",
        "lifetime_ca_certificate",
        timedelta(days=1095),
    ),
    SERVER.attribute(
        "crl version <1-2>:crl_version",
        "Certificate Revocation List | Version of its format | 1: of IOS in 2009, 2: with a number",
        "crl_version",
    ),
    SERVER.attribute(
        "cdp-url HTTP_URL:cdp_url",
        "CRL Distribution Point to be included in the issued certs"
        " | http URL where CRLs may be obtained",
        "cdp_url",
    ),
    _mode_row("sub-cs", "Mode | Subordinate certificate server"),
    _mode_row("ra", "Registration Authority"),
    SERVER.attribute("hash DIGEST:hash", "Hash algorithm", "hash"),
    SERVER.row(
        "auto-rollover [<0-1825>:days [<0-24>:hours [<0-59>:minutes]]]",
        "Rollover the CA key and certificate | Overlap period in days | Overlap period in hours"
        " | Overlap period in minutes",
        _set_auto_rollover,
        lambda server, _: replace(server, auto_rollover=None),
        _show_auto_rollover,
    ),
    replace(
        SERVER.row(
            "database url STORAGE_URL:database_url",
            "URL to store database | ftp://[USER[:PASSWORD]@]HOST[/DIRECTORY], or nvram:",
            _set_database_url,
            lambda server, _: replace(server, database_url=None),
            lambda s: [] if s.database_url is None else [shown(database_url=s.database_url)],
        ),
        notice="% Server database url was changed. You need to move the\n"
        "% existing database to the new location.",
    ),
    SERVER.row(
        "shutdown",
        "Shutdown the Certificate Server",
        lambda server, _: replace(server, enabled=False),
        lambda server, _: replace(server, enabled=True),
        _show_shutdown,
    ),
)


def _add_server(config: RunningConfig, _: str, arguments: Arguments) -> RunningConfig:
    name = _name(arguments)
    server = config.servers.get(name, CertServerConfig(name))
    return replace(config, servers={**config.servers, name: server})


def _remove_server(config: RunningConfig, _: str, arguments: Arguments) -> RunningConfig:
    name = _name(arguments)
    if name not in config.servers:
        raise ConfigError("Cannot find Certificate Server")
    return replace(config, servers={n: s for n, s in config.servers.items() if n != name})


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
    enter_row(
        "crypto pki server LABEL:name",
        "Public Key components | Enable Certificate Server | Certificate Server Name",
        Mode.CS_SERVER,
        _add_server,
        _remove_server,
        lambda config: [shown(name=name) for name in config.servers],
        _name,
    ),
    enter_row(
        "crypto pki trustpoint LABEL:name",
        "Define a CA trustpoint | CA Server Name",
        Mode.CA_TRUSTPOINT,
        _add_trustpoint,
        _remove_trustpoint,
        lambda config: [shown(name=name) for name in config.trustpoints],
        _name,
    ),
)
