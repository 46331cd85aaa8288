"""Rows of the command table: `crypto pki server`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from ikelab.errors import ConfigError
from ikelab.ios.arguments import Arguments
from ikelab.ios.config import RunningConfig
from ikelab.ios.row import Mode, Row, Shown, default_of, named_section, shown, with_attribute
from ikelab.ios.type7 import decode_type7, encode_type7
from ikelab.pki.config import CertServerConfig

SERVER = named_section(Mode.CS_SERVER, "servers", CertServerConfig)


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


def _lifetime_row(what: str, help_text: str, name: str) -> Row:
    """`lifetime certificate` and `lifetime ca-certificate`: days, hours, minutes."""

    def read(server: CertServerConfig) -> Iterable[Shown]:
        span: timedelta = getattr(server, name)
        return [] if span == default_of(server, name) else [shown(**_span_words(span))]

    return SERVER.row(
        f"lifetime {what} <0-7305>:days [<0-24>:hours [<0-59>:minutes]]",
        f"Lifetime parameters | {help_text} | Lifetime in days | Lifetime in hours"
        " | Lifetime in minutes",
        lambda server, arguments: with_attribute(server, name, _span(arguments)),
        SERVER.reset(name),
        read,
    )


def _show_crl_lifetime(server: CertServerConfig) -> list[Shown]:
    minutes = server.lifetime_crl // timedelta(minutes=1)
    if server.lifetime_crl == default_of(server, "lifetime_crl"):
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
        SERVER.reset("lifetime_crl"),
        _show_crl_lifetime,
    ),
    _lifetime_row("certificate", "Lifetime of an issued certificate", "lifetime_certificate"),
    replace(
        _lifetime_row(
            "ca-certificate", "Lifetime of the CA certificate", "lifetime_ca_certificate"
        ),
        notice="% The CA certificate lifetime change will take effect after existing CA certs"
        " expire.",
    ),
    SERVER.attribute(
        "crl version <1-2>:crl_version",
        "Certificate Revocation List | Version of its format | 1: of IOS in 2009, 2: with a number",
        "crl_version",
    ),
    SERVER.flag(
        "certrep include ca-certificate",
        "Answers to enrollment requests | What they hold beside the issued certificate"
        " | The certificate of the CA that issued it",
        "certrep_ca",
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


def _remove_server(config: RunningConfig, key: str, arguments: Arguments) -> RunningConfig:
    if arguments.text("name") not in config.servers:
        raise ConfigError("Cannot find Certificate Server")
    return SERVER.remove(config, key, arguments)


SERVER_ENTRY = SERVER.enter(
    "crypto pki server LABEL:name",
    "Public Key components | Enable Certificate Server | Certificate Server Name",
    remove=_remove_server,
)
