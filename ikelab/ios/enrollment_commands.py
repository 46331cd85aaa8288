"""Rows of the command table for enrollment by hand: paste, import, export, and the CA's side of it.

What they ask for is typed on the lines below the command, see `typed.py`.
"""

from __future__ import annotations

from ikelab.ios.grammar import compile_grammar
from ikelab.ios.row import Mode, Row, exec_row
from ikelab.ios.vocabulary import KINDS

_CONFIG = (Mode.CONFIG,)

_CHAIN = compile_grammar(
    "crypto pki certificate chain LABEL:trustpoint",
    ["Certificate commands", "Chain of certificates", "CA Server Name"],
    KINDS,
)

ENROLLMENT_ROWS = (
    exec_row(
        "crypto pki import LABEL:trustpoint certificate",
        "Import certificates | CA Server Name"
        " | Import a certificate from a TFTP server or the terminal",
        also=_CONFIG,
    ),
    exec_row(
        "crypto pki import LABEL:trustpoint pem [exportable:exportable] terminal LINE:password",
        "Import from PEM files | The key pair may be exported again"
        " | Input PEM files from the terminal | Passphrase used to protect the private key",
        also=_CONFIG,
    ),
    exec_row(
        "crypto pki import LABEL:trustpoint pkcs12 terminal LINE:password",
        "Import from PKCS12 file | Input pkcs12 file from the terminal"
        " | Passphrase used to protect the pkcs12 file",
        also=_CONFIG,
    ),
    exec_row(
        "crypto pki import LABEL:trustpoint pkcs12 STORAGE_URL:url LINE:password",
        "Import from ftp: or nvram: file system, ftp://[USER[:PASSWORD]@]HOST[/DIRECTORY][/FILE]"
        " | Passphrase used to protect the pkcs12 file",
        also=_CONFIG,
    ),
    exec_row(
        "crypto pki export LABEL:trustpoint pem terminal [KEY_CIPHER:cipher LINE:password]",
        "Export certificates or PKCS12 files | CA Server Name | Export in PEM format"
        " | Export to the terminal | Passphrase used to protect the private key",
        also=_CONFIG,
    ),
    exec_row(
        "crypto pki export LABEL:trustpoint pkcs12 terminal LINE:password",
        "Export as PKCS12 file | Export to the terminal"
        " | Passphrase used to protect the pkcs12 file",
        also=_CONFIG,
    ),
    exec_row(
        "crypto pki export LABEL:trustpoint pkcs12 STORAGE_URL:url LINE:password",
        "Export to ftp: or nvram: file system, ftp://[USER[:PASSWORD]@]HOST[/DIRECTORY][/FILE]"
        " | Passphrase used to protect the pkcs12 file",
        also=_CONFIG,
    ),
    exec_row(
        "crypto pki server LABEL:server remove <1-999>:request",
        "Remove enrollment requests from database | Request ID",
    ),
    exec_row("crypto pki server LABEL:server remove all:request", "all requests"),
    exec_row(
        "crypto pki server LABEL:server request pkcs10 terminal",
        "Retrieve an enrollment request | PKCS10 enrollment request"
        " | Input the request from the terminal",
    ),
    exec_row(
        "crypto pki server LABEL:server request pkcs10 terminal base64:form",
        "Print the certificate in base64, without PEM boundaries",
    ),
    exec_row(
        "crypto pki server LABEL:server request pkcs10 terminal pem:form",
        "Print the certificate with PEM boundaries",
    ),
    exec_row("crypto pki server LABEL:server info crl", "Certificate Revocation List"),
    # In IOS the positive form holds the certificates of a configuration; here nvram holds them, so
    # the `no` form is all that does something.
    Row(_CONFIG, _CHAIN, undo_grammar=_CHAIN),
)
