"""The dialogue of enrollment by hand, in IOS's words where a public trace or the guide has them."""

from __future__ import annotations

from ikelab.ios.text import date, serial_number, visible
from ikelab.ios.zone import Zone
from ikelab.pki import pem
from ikelab.pki.crl import Crl
from ikelab.pki.enrollment_events import RequestPrinted
from ikelab.pki.events import RequestSent
from ikelab.pki.x509 import format_name

_BLANK_OR_QUIT = 'End with a blank line or the word "quit" on a line by itself'
_QUIT = '% End with a blank line or "quit" on a line by itself.'

ENTER_CA = f"\nEnter the base 64 encoded CA certificate.\n{_BLANK_OR_QUIT}\n"
ENTER_CERTIFICATE = f"\nEnter the base 64 encoded certificate.\n{_BLANK_OR_QUIT}\n"
ENTER_PKCS12 = f"\nEnter the base 64 encoded pkcs12.\n{_BLANK_OR_QUIT}\n"
ENTER_PEM_CA = f"% Enter PEM-formatted CA certificate.\n{_QUIT}"
ENTER_PEM_KEY = (
    "% Enter PEM-formatted encrypted private General Purpose key.\n"
    '% End with "quit" on a line by itself.'
)
ENTER_PEM_CERTIFICATE = f"% Enter PEM-formatted General Purpose certificate.\n{_QUIT}"
ENTER_REQUEST = (
    "PKCS10 request in base64 or pem\n\n"
    f"% Enter Base64 encoded or PEM formatted PKCS10 enrollment request.\n{_QUIT}"
)
ACCEPT_CA = "% Do you accept this certificate? [yes/no]:"
CHALLENGE = (
    "%\n% Create a challenge password. You will need to verbally provide this\n"
    "   password to the CA Administrator in order to revoke your certificate.\n"
    "   For security reasons your password will not be saved in the configuration.\n"
    "   Please make a note of it.\n\nPassword:"
)


def remove_chain_question(trustpoint: str) -> str:
    """The question of `no crypto pki certificate chain`."""
    return (
        f"This will remove all certificates for trustpoint {trustpoint}\n"
        "Are you sure you want to do this? [yes/no]:"
    )


def request_text(printed: RequestPrinted) -> str:
    """What `crypto pki enroll` shows of a request to be cut out."""
    der = printed.request
    body = pem.to_pem(pem.REQUEST, der) if printed.pem else pem.to_base64(der)
    return (
        "% Start certificate enrollment ..\n\n"
        f"% The subject name in the certificate will include: {visible(printed.subject)}\n"
        f"Certificate Request follows:\n\n{body}\n"
        "---End - This line not part of the certificate request---\n\n"
    )


def sent_text(sent: RequestSent) -> str:
    """What `crypto pki enroll` shows of a request that went to the CA."""
    return (
        "% Start certificate enrollment ..\n"
        f"% The subject name in the certificate will include: {visible(sent.subject)}\n"
        "% Certificate request sent to Certificate Authority\n"
        f"% The 'show crypto pki certificate {sent.trustpoint} verbose' command"
        " will show the fingerprint.\n"
    )


def exported_pem(trustpoint: str, ca: bytes, certificate: bytes | None, key: str = "") -> str:
    """`crypto pki export ... pem terminal`. ca, certificate: DER; key: its part of the text."""
    head = ""
    if certificate is None:
        head = (
            f"% The specified trustpoint is not enrolled ({trustpoint}).\n"
            "% Only export the CA certificate in PEM format.\n"
        )
    text = f"{head}% CA certificate:\n{pem.to_pem(pem.CERTIFICATE, ca)}\n{key}"
    if certificate is not None:
        block = pem.to_pem(pem.CERTIFICATE, certificate)
        text += f"% General Purpose Certificate:\n{block}\n"
    return text


def exported_key(label: str, block: str) -> str:
    """The private key among what is exported. block: PEM."""
    return f"% Key name: {label}\n   Usage: General Purpose Key\n{block}\n"


def exported_pkcs12(octets: bytes) -> str:
    """`crypto pki export ... pkcs12 terminal`."""
    return f"Exported pkcs12 follows:\n{pem.to_pem(pem.PKCS12, octets)}\n"


def crl_text(crl: Crl, zone: Zone) -> str:
    """`crypto pki server NAME info crl`."""
    lines = [
        "Certificate Revocation List:",
        f"    Issuer: {visible(format_name(crl.issuer))}",
        f"    This Update: {date(crl.this_update, zone)}",
        f"    Next Update: {date(crl.next_update, zone) if crl.next_update else 'none'}",
        f"    Number of CRL entries: {len(crl.revoked)}",
        f"    CRL size: {len(crl.der)} bytes",
    ]
    if crl.revoked:
        lines.append("Revoked Certificates:")
    for serial, (moment, _) in sorted(crl.revoked.items()):
        lines.append(f"    Serial Number (hex): {serial_number(serial)}")
        lines.append(f"        Revocation Date: {date(moment, zone)}")
    return "\n".join(lines) + "\n"


def ca_held(trustpoint: str) -> str:
    """The answer to `crypto pki authenticate` where there is nothing to authenticate any more."""
    return (
        f"% Trustpoint {trustpoint} has its CA certificate:"
        f" `no crypto pki certificate chain {trustpoint}` removes it\n"
    )
