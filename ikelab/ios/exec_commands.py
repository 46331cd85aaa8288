"""Rows of the command table that the node carries out: show, clear, ping, `crypto pki ...`.

Each becomes a `Command` whose name is the row's fixed keywords. A few belong to the console itself
(configure terminal, debug, exit): `session.py` takes them.
"""

from __future__ import annotations

from collections.abc import Iterator

from ikelab.ios.debugging import DEBUGGINGS
from ikelab.ios.enrollment_commands import ENROLLMENT_ROWS
from ikelab.ios.row import Mode, Row, exec_row

CONFIG = (Mode.CONFIG,)
"""IOS has these in configuration mode too; a file cannot hold them, for they are deeds."""

CONFIGURING = tuple(mode for mode in Mode if mode is not Mode.EXEC)

SHOW_ROWS = (
    exec_row(
        "show clock [detail:detail]",
        "Show running system information | Display the system clock | Display detailed information",
    ),
    exec_row("show ntp associations", "Network time protocol | NTP associations"),
    exec_row("show ntp status", "NTP status"),
    exec_row("show version", "System hardware and software status"),
    exec_row("show running-config", "Current operating configuration"),
    exec_row("show debugging", "State of each debugging option"),
    exec_row(
        "show ip interface brief",
        "IP information | IP interface status and configuration"
        " | Brief summary of IP status and configuration",
    ),
    exec_row(
        "show crypto isakmp sa [detail:detail]",
        "Encryption module | Show ISAKMP | Show ISAKMP Security Associations"
        " | Show ISAKMP SA detail",
    ),
    exec_row("show crypto isakmp policy", "Show ISAKMP protection suite policy"),
    exec_row(
        "show crypto call admission statistics",
        "Show crypto call admission info | Show Call Admission Control"
        " | Show statistics for Crypto Call Admission Control",
    ),
    exec_row("show crypto isakmp drops", "Datagrams refused, counted by reason"),
    exec_row("show crypto ipsec sa", "Show IPSEC policy | IPSEC SA table"),
    exec_row("show crypto isakmp peers", "Show ISAKMP peer structures"),
    exec_row("show crypto isakmp profile", "Show ISAKMP profiles"),
    exec_row("show crypto isakmp key", "Show ISAKMP preshared keys"),
    exec_row(
        "show crypto session [detail:detail]",
        "Show crypto sessions (tunnels) | Show detailed information",
    ),
    exec_row(
        "show crypto pki certificates [LABEL:trustpoint [verbose:verbose]]",
        "Show PKI | Show certificates | Trustpoint name | Show the fingerprints too",
    ),
    exec_row("show crypto pki certificates verbose:verbose", "Show the fingerprints too"),
    exec_row("show crypto pki crls", "Show Certificate Revocation Lists"),
    exec_row("show crypto pki server [LABEL:server]", "Show Certificate Server | CS Name"),
    exec_row(
        "show crypto pki trustpoints [LABEL:trustpoint]", "Show trustpoints | Trustpoint name"
    ),
    exec_row(
        "show crypto key mypubkey rsa [LABEL:label]",
        "Show long term public keys | Show public keys associated with this router"
        " | Show RSA public keys | Key name",
    ),
)

PKI_EXEC_ROWS = (
    exec_row(
        "crypto pki authenticate LABEL:trustpoint",
        "Encryption related commands. | Public Key components | Get the CA certificate"
        " | CA Server Name",
        also=CONFIG,
    ),
    exec_row(
        "crypto pki enroll LABEL:trustpoint",
        "Request a certificate from a CA | CA Server Name",
        also=CONFIG,
    ),
    exec_row(
        "crypto pki crl request LABEL:trustpoint",
        "Actions on certificate revocation lists | Request a CRL immediately | CA Server Name",
        also=CONFIG,
    ),
    exec_row(
        "crypto pki server LABEL:server grant <1-999>:request",
        "Certificate Server | Certificate Server Name | Grant enrollment requests | Request ID",
    ),
    exec_row("crypto pki server LABEL:server grant all:request", "all pending requests"),
    exec_row(
        "crypto pki server LABEL:server reject <1-999>:request",
        "Reject enrollment requests | Request ID",
    ),
    exec_row("crypto pki server LABEL:server reject all:request", "all pending requests"),
    exec_row(
        "crypto pki server LABEL:server revoke SERIAL:serial",
        "Revoke certificate | Serial Number in Hexadecimal.",
    ),
    exec_row("crypto pki server LABEL:server info requests", "Display info | Enrollment Requests"),
    exec_row(
        "crypto pki server LABEL:server password generate [<1-1440>:minutes] [name WORD:name]",
        "One Time Password for SCEP enrollment | Generate a new password"
        " | Time in minutes the password is valid | For one router only"
        " | Its host name, serial number, address or common name",
    ),
)

_DAY, _YEAR = "<1-31>:day", "<1993-2135>:year"  # IOS's years end with 2035; a lab's go on

NODE_ROWS = (
    exec_row(
        f"clock set TIME:time {_DAY} MONTH:month {_YEAR}",
        "Manage the system clock | Set the time and date | Current Time | Day of the month"
        " | Month of the year | Year",
    ),
    exec_row(
        f"clock set TIME:time MONTH:month {_DAY} {_YEAR}",
        "Month of the year | Day of the month | Year",
    ),
    exec_row(
        "clear crypto isakmp", "Reset functions | Encryption module | Flush the ISAKMP database"
    ),
    exec_row("clear crypto sa", "Clear all crypto SAs"),
    exec_row(
        "clear crypto sa peer A.B.C.D:peer", "Clear all SAs for a given crypto peer | IP address"
    ),
    exec_row(
        "ping A.B.C.D:target {[source A.B.C.D:source] [source IFNAME:source]"
        " [repeat <1-2147483647>:repeat] [size <36-18024>:size]}",
        "Send echo messages | Ping destination address"
        " | specify source address | source address | specify source address | source interface"
        " | specify repeat count | Repeat count | specify datagram size | Datagram size",
    ),
)


def _debug_rows() -> Iterator[Row]:
    """`debug`, `undebug` and `no debug` of everything that can be debugged."""
    first = {"debug": "Debugging functions", "undebug": "Disable debugging functions"}
    first["no debug"] = "Disable debugging informations | Debugging functions"
    for verb, words in first.items():
        for number, one in enumerate(DEBUGGINGS):
            text = one.help_text if number else f"{words} | {one.help_text}"
            yield exec_row(f"{verb} {one.name}", text)


CONSOLE_ROWS = (
    exec_row("configure terminal", "Enter configuration mode | Configure from the terminal"),
    *_debug_rows(),
    exec_row("undebug all", "Disable all debugging"),
    exec_row("no debug all", "Disable all debugging"),
    exec_row("exit", "Exit from the current mode", also=CONFIGURING),
    exec_row("end", "Exit to exec mode", also=CONFIGURING, executive=False),
    exec_row(
        "do LINE:command",
        "To run exec commands in config mode | Exec Command",
        also=CONFIGURING,
        executive=False,
    ),
)

EXEC_ROWS = (*SHOW_ROWS, *PKI_EXEC_ROWS, *ENROLLMENT_ROWS, *NODE_ROWS, *CONSOLE_ROWS)
