"""CertReps signed by a second process, so that a certificate server works on two cores.

    server -> signer    pickled: (CA certificate, its PKCS #8 key), once for each; then
                        (number, CA certificate, UnsignedCertRep)
    signer -> server    the number, eight octets, and the pkiMessage, empty where it cannot be made

The signer knows nothing that could be lost: what it does not answer, also because it hangs, the
server signs itself. It ends with the server, however that ends, because its socket does. Threads
would not do: libcrypto's Python library keeps the interpreter's lock while it signs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import socket
from asyncio import AbstractEventLoop, Future
from typing import NoReturn

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from ikelab.errors import PkiError
from ikelab.pki.ca_events import HttpOut
from ikelab.pki.cert_rep import ToSign
from ikelab.pki.x509 import Certificate, load_certificate
from ikelab.runtime.keys import OsRng
from ikelab.runtime.sqlite import key_der, load_key

_LARGEST = 1 << 16  # octets of a message; an answer with a long CRL is signed here
_NUMBER = 8
# After which one answer may not be waited for any more. All 32 connections of a web server with
# RSA-4096 take it 0.2 s, and a router waits 10 s for the whole of its request.
_SECONDS = 3.0

_LOG = logging.getLogger(__name__)


class Signer:
    """Signs what a web server has decided: here, or in its process once it is forked."""

    def __init__(self) -> None:
        self._rng = OsRng()
        self._socket: socket.socket | None = None
        self._pid = 0
        self._loop: AbstractEventLoop | None = None
        self._known: set[bytes] = set()  # CA certificates whose keys the process has
        self._waiting: dict[int, Future[bytes]] = {}
        self._watch: asyncio.TimerHandle | None = None
        self._count = 0

    def fork(self, *close: int) -> None:
        """Start the process. To be called before an event loop runs, and before there are threads.

        close: descriptors that are not the signer's.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            for descriptor in (ours.detach(), *close):
                os.close(descriptor)
            _serve(theirs)
        theirs.close()
        self._socket = ours

    def close(self) -> None:
        """End the process; what waits for it, and what comes afterwards, is signed here."""
        if self._socket is None:
            return
        self._give_up()
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    async def sign(self, answer: HttpOut) -> HttpOut:
        """The answer with its body, see `HttpOut.sign`. At once where nothing is to be signed."""
        handed_over = None if answer.unsigned is None else self._hand_over(answer.unsigned)
        octets = b"" if handed_over is None else await handed_over
        return answer.with_body(octets) if octets else answer.sign(self._rng)

    def _hand_over(self, unsigned: ToSign) -> Future[bytes] | None:
        """What will be the signer's answer; None where it does not take it."""
        ca = unsigned.ca.der
        if self._socket is None:
            return None
        if ca not in self._known and not self._send((ca, key_der(unsigned.key))):
            return None
        self._known.add(ca)
        self._count += 1
        if not self._send((self._count, ca, unsigned.reply)):
            return None
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._loop.add_reader(self._socket, self._take)
        self._waiting[self._count] = self._loop.create_future()
        if self._watch is None:
            self._watch_over(self._loop)
        return self._waiting[self._count]

    def _watch_over(self, loop: AbstractEventLoop) -> None:
        """Look again later whether what has waited longest has come."""
        self._watch = loop.call_later(_SECONDS, self._look, loop, next(iter(self._waiting)))

    def _look(self, loop: AbstractEventLoop, longest: int) -> None:
        self._watch = None
        self._take()  # it may have come while this process was held up
        if self._socket is not None and longest in self._waiting:
            _LOG.warning("the signing process hangs; this one signs by itself")
            self.close()
        elif self._waiting:
            self._watch_over(loop)

    def _send(self, message: tuple[object, ...]) -> bool:
        octets = pickle.dumps(message)
        if self._socket is None or len(octets) > _LARGEST:
            return False
        try:
            self._socket.send(octets, socket.MSG_DONTWAIT)
        except OSError:  # it has enough to do, or is gone
            return False
        return True

    def _take(self) -> None:
        """All that is signed by now, so that those who ask next come together, too."""
        while self._socket is not None:
            try:
                octets = self._socket.recv(2 * _LARGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not octets:
                _LOG.warning("the signing process has ended; this one signs by itself")
                self.close()
                return
            future = self._waiting.pop(int.from_bytes(octets[:_NUMBER], "big"))
            if not future.done():  # else the client has hung up
                future.set_result(octets[_NUMBER:])

    def _give_up(self) -> None:
        assert self._socket is not None
        if self._loop is not None:
            self._loop.remove_reader(self._socket)
        if self._watch is not None:
            self._watch.cancel()
        self._socket.close()
        self._socket = None
        for future in self._waiting.values():
            if not future.done():
                future.set_result(b"")
        self._waiting.clear()


def _serve(asked: socket.socket) -> NoReturn:
    """The forked child: never returns, whatever happens."""
    try:
        # Ctrl-C is for the server, which then ends this process.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        keys: dict[bytes, tuple[Certificate, RSAPrivateKey]] = {}
        rng = OsRng()
        while octets := asked.recv(_LARGEST):
            match pickle.loads(octets):
                case (bytes() as ca, bytes() as key):
                    keys[ca] = load_certificate(ca), load_key(key)
                case (number, ca, reply):
                    try:
                        signed = reply.sign(*keys[ca], rng)
                    except PkiError:  # the server finds out, and says so
                        signed = b""
                    asked.send(number.to_bytes(_NUMBER, "big") + signed)
    except Exception:
        _LOG.exception("the signing process fails")
    finally:
        os._exit(0)
