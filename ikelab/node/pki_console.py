"""The console's commands of enrollment by hand: what was typed below them meets the engines.

Each deed reads everything it asks for before it does anything, so that a question without an
answer (`ios/typed.py`) leaves all as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ikelab.errors import ConfigError, PkiError
from ikelab.ios import enrollment_text as words
from ikelab.ios.arguments import Arguments, Command
from ikelab.ios.log_pki import certificate_offer
from ikelab.ios.typed import Typed
from ikelab.node import identities
from ikelab.node.archive_console import Done
from ikelab.node.events import NodeAction
from ikelab.node.recovery import import_pkcs12
from ikelab.node.router import Router
from ikelab.pki import pem
from ikelab.pki.ca_events import RequestRefused
from ikelab.pki.cert_server import CertificateServer
from ikelab.pki.crl import load_crl
from ikelab.pki.enrollment_events import (
    CaCertificateOffered,
    PastedCa,
    PastedCertificate,
    RequestPrinted,
)
from ikelab.pki.events import CaCertificateAccepted, RequestSent
from ikelab.pki.pasted_request import printed_certificate
from ikelab.pki.pkcs12 import (
    dump_pkcs12,
    dump_private_key,
    dump_traditional_key,
    join_identity,
    load_pkcs12,
    load_private_key,
)
from ikelab.pki.store import EnrollmentRequest
from ikelab.pki.terminal_trustpoint import TerminalTrustpoint
from ikelab.pki.trustpoint import State
from ikelab.types import Now

Deed = Callable[[Arguments, Typed, Now], Done]


class PkiConsole:
    """Carries out these commands for one router."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._deeds: Mapping[str, Deed] = {
            "crypto pki authenticate": self._authenticate,
            "crypto pki enroll": self._enroll,
            "crypto pki import certificate": self._import_certificate,
            "crypto pki import pem terminal": self._import_pem,
            "crypto pki import pkcs12 terminal": self._import_pkcs12,
            "crypto pki export pem terminal": self._export_pem,
            "crypto pki export pkcs12 terminal": self._export_pkcs12,
            "crypto pki certificate chain": self._enter_chain,
            "no crypto pki certificate chain": self._remove_chain,
            "crypto pki server grant": self._grant,
            "crypto pki server reject": self._reject,
            "crypto pki server remove": self._remove,
            "crypto pki server request pkcs10 terminal": self._paste_request,
            "crypto pki server info crl": self._info_crl,
        }

    def takes(self, command: Command) -> bool:
        """Whether the command is one of these."""
        return command.name in self._deeds

    def carry_out(self, command: Command, typed: Typed, now: Now) -> Done:
        """One command. Raises PkiError, ConfigError, and Unanswered where it asks for more."""
        return self._deeds[command.name](command.arguments, typed, now)

    # --- the router ---------------------------------------------------------------------------

    def _authenticate(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        """Ask the CA for its certificate, or take the pasted one; `yes` or `no` accept it or not.

        Over SCEP the certificate comes later: the log shows it, and the command with its answer
        below is given again.
        """
        name = arguments.text("trustpoint")
        point = self._router.trustpoints.get(name)
        if isinstance(point, TerminalTrustpoint):
            return self._authenticate_pasted(name, point, typed, now)
        if typed.is_empty or point is None or point.state is not State.CA_OFFERED:
            typed.finish("crypto pki authenticate")
            actions = self._router.authenticate(name, now)
            held = point is not None and point.anchors and not actions
            return words.ca_held(name) if held else "", actions
        yes = typed.yes(words.ACCEPT_CA)
        typed.finish("crypto pki authenticate")
        return self._accepted(self._router.accept(name, yes, now))

    def _authenticate_pasted(
        self, name: str, point: TerminalTrustpoint, typed: Typed, now: Now
    ) -> Done:
        if point.state is State.CA_OFFERED and _is_yes_or_no(typed):
            return self._accepted(self._router.accept(name, typed.yes(words.ACCEPT_CA), now))
        certificates = pem.read_pasted(typed.block(words.ENTER_CA), pem.CERTIFICATE)
        answer = None if typed.is_empty else typed.yes(words.ACCEPT_CA)
        typed.finish("crypto pki authenticate")
        actions = self._router.paste(name, PastedCa(certificates), now)
        offers = [action for action in actions if isinstance(action, CaCertificateOffered)]
        if not offers:
            return self._accepted(actions)
        text = "".join(certificate_offer(offer) + "\n" for offer in offers)
        if answer is None:
            return text, actions
        said, more = self._accepted(self._router.accept(name, answer, now))
        return text + said, [*actions, *more]

    def _accepted(self, actions: Sequence[NodeAction]) -> Done:
        if not any(isinstance(action, CaCertificateAccepted) for action in actions):
            return "% Certificate not accepted\n", actions
        said = "Trustpoint CA certificate accepted.\n% Certificate successfully imported\n"
        return said + printed_requests(actions), actions

    def _enroll(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        """Ask for a certificate; a challenge password is typed twice below."""
        password = None if typed.is_empty else typed.new_secret(words.CHALLENGE)
        typed.finish("crypto pki enroll")
        actions = self._router.enroll(arguments.text("trustpoint"), now, password)
        printed = printed_requests(actions)
        if printed:
            return printed, actions
        sent = (action for action in actions if isinstance(action, RequestSent))
        return "".join(map(words.sent_text, sent)), actions

    def _import_certificate(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        found = pem.read_pasted(typed.block(words.ENTER_CERTIFICATE), pem.CERTIFICATE)
        typed.finish("crypto pki import")
        if len(found) != 1:
            raise PkiError("malformed-pem", f"{len(found)} certificates where one is wanted")
        pasted = PastedCertificate(found[0])
        actions = self._router.paste(arguments.text("trustpoint"), pasted, now)
        return "% Router Certificate successfully imported\n", actions

    def _import_pem(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        """The CA's certificate (with those above it, if they are there), the key, the router's."""
        ca = pem.read_pasted(typed.block(words.ENTER_PEM_CA), pem.CERTIFICATE)
        keys = pem.read_pem(typed.block(words.ENTER_PEM_KEY))
        own = pem.read_pasted(typed.block(words.ENTER_PEM_CERTIFICATE), pem.CERTIFICATE)
        typed.finish("crypto pki import")
        if len(keys) != 1:
            raise PkiError("no-key", f"{len(keys)} PEM blocks where one private key is wanted")
        legacy, password = self._router.legacy, arguments.text("password")
        key = load_private_key(keys[0], password, legacy=legacy)
        identity = join_identity(key, own[0], (*ca, *own[1:]), legacy=legacy)
        name, exportable = arguments.text("trustpoint"), "exportable" in arguments
        actions = identities.import_identity(
            self._router, name, identity, now, exportable=exportable
        )
        return "% PEM files import succeeded.\n", actions

    def _import_pkcs12(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        found = pem.read_pasted(typed.block(words.ENTER_PKCS12), pem.PKCS12)
        typed.finish("crypto pki import")
        if len(found) != 1:
            raise PkiError("malformed-pem", f"{len(found)} PKCS #12 files where one is wanted")
        identity = load_pkcs12(found[0], arguments.text("password"), legacy=self._router.legacy)
        name = arguments.text("trustpoint")
        actions = import_pkcs12(self._router, name, identity, now)
        return "CRYPTO_PKI: Imported PKCS12 file successfully.\n", actions

    def _export_pem(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        typed.finish("crypto pki export")
        name, key = arguments.text("trustpoint"), ""
        ca, own = identities.exported_certificates(self._router, name)
        if "cipher" in arguments:
            identity = identities.exported_identity(self._router, name)
            password = arguments.text("password")
            if arguments.text("cipher") == "3des":
                salt = self._router.draw("exported_key_salt", 8)
                block = dump_traditional_key(identity.key, password, salt)
            else:
                block = dump_private_key(identity.key, password)
            key = words.exported_key(identities.key_label(self._router, name), block)
        return words.exported_pem(name, ca, own, key), []

    def _export_pkcs12(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        typed.finish("crypto pki export")
        name, password = arguments.text("trustpoint"), arguments.text("password")
        identity = identities.exported_identity(self._router, name)
        octets = dump_pkcs12(identity, name, password, legacy=self._router.legacy)
        return words.exported_pkcs12(octets), []

    def _enter_chain(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        name = arguments.text("trustpoint")
        raise ConfigError(
            "% Certificates are kept in nvram, not in the configuration",
            hint=f"`no crypto pki certificate chain {name}` removes them",
        )

    def _remove_chain(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        name = arguments.text("trustpoint")
        self._router.find_trustpoint(name)
        sure = typed.yes(words.remove_chain_question(name))
        typed.finish("no crypto pki certificate chain")
        if not sure:
            return "", []
        return "", identities.remove_certificates(self._router, name, now)

    # --- the certificate server ---------------------------------------------------------------

    def _grant(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        """One request or all; the certificates of those that were pasted are printed."""
        typed.finish("crypto pki server grant")
        server, wanted = self._server(arguments), _request_id(arguments)
        waiting = {row.number for row in server.requests() if row.certificate is None}
        notices = server.grant(wanted, now)
        said = "".join(f"% {item.detail}\n" for item in notices if isinstance(item, RequestRefused))
        said += "".join(
            _granted(row)
            for row in server.requests()
            if row.number in waiting and wanted in (None, row.request_id)
        )
        return said, [*notices, *self._router.queues[server.config.name].pump()]

    def _reject(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        typed.finish("crypto pki server reject")
        notices = self._server(arguments).reject(_request_id(arguments))
        said = "".join(f"% {item.detail}\n" for item in notices if isinstance(item, RequestRefused))
        return said, notices

    def _remove(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        typed.finish("crypto pki server remove")
        return "", self._server(arguments).remove(_request_id(arguments))

    def _paste_request(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        """A request somebody brings. Without a form its certificate is printed as it came."""
        server = self._server(arguments)
        text = typed.block(words.ENTER_REQUEST)
        typed.finish("crypto pki server request pkcs10 terminal")
        found = pem.read_pasted(text, pem.REQUEST)
        if len(found) != 1:
            raise PkiError("malformed-pem", f"{len(found)} requests where one is wanted")
        form = arguments.text("form") or ("pem" if "-----BEGIN " in text else "base64")
        row, notices = server.paste_request(found[0], form, now)
        said = _granted(row) or f"% Enrollment request pending, reqId={row.request_id}\n"
        return said, [*notices, *self._router.queues[server.config.name].pump()]

    def _info_crl(self, arguments: Arguments, typed: Typed, now: Now) -> Done:
        typed.finish("crypto pki server info crl")
        crl = self._server(arguments).store.load_crl()
        if crl is None:
            return "CRL not present.\n", []
        return words.crl_text(load_crl(crl.crl), self._router.config.times.zone), []

    def _server(self, arguments: Arguments) -> CertificateServer:
        return named_server(self._router, arguments)


def named_server(router: Router, arguments: Arguments) -> CertificateServer:
    """The certificate server of a command. Raises PkiError("unknown-server")."""
    name = arguments.text("server")
    if name not in router.servers:
        raise PkiError("unknown-server", f"there is no certificate server {name}")
    return router.servers[name]


def printed_requests(actions: Sequence[NodeAction]) -> str:
    """Requests to be cut out, among what a command brought."""
    return "".join(
        words.request_text(action) for action in actions if isinstance(action, RequestPrinted)
    )


def _granted(row: EnrollmentRequest) -> str:
    text = printed_certificate(row)
    return "" if text is None else f"% Granted certificate:\n{text}\n"


def _request_id(arguments: Arguments) -> int | None:
    """None for `all`."""
    value = arguments["request"]
    return value if isinstance(value, int) else None


def _is_yes_or_no(typed: Typed) -> bool:
    """Whether the first line below answers the question that is open, and is no paste."""
    return typed.first_word in ("y", "ye", "yes", "n", "no")
