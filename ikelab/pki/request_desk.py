"""The administrator's desk at a certificate server: requests granted, rejected, removed, pasted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta

from ikelab.errors import PkiError
from ikelab.pki.ca_events import CaNotice, RequestRefused, RequestRejected, RequestRemoved
from ikelab.pki.config import CertServerConfig
from ikelab.pki.issuer import Issuer
from ikelab.pki.one_time_password import password_digest
from ikelab.pki.pasted_request import queue_pasted
from ikelab.pki.rollover import other_issuers
from ikelab.pki.scep_server import queued_notice
from ikelab.pki.store import CaStore, EnrollmentRequest, RequestState
from ikelab.types import Now, Rng

# A one-time password holds an hour unless told otherwise, as IOS has it.
PASSWORD_MINUTES = 60


class RequestDesk(ABC):
    """The part of a certificate server that decides on requests."""

    config: CertServerConfig
    store: CaStore
    _rng: Rng

    @abstractmethod
    def _issuer(self) -> Issuer: ...

    def requests(self) -> tuple[EnrollmentRequest, ...]:
        """`info requests`, by id."""
        return self.store.requests()

    def paste_request(
        self, request: bytes, form: str, now: Now
    ) -> tuple[EnrollmentRequest, list[CaNotice]]:
        """`request pkcs10 terminal`: the request as it stands afterwards; `grant auto` grants it.

        request: PKCS #10, DER. form: "pem" or "base64". Raises PkiError.
        """
        issuer = self._issuer()
        row = queue_pasted(issuer, request, form, self._rng, now.wall)
        if row.automatic and row.state is RequestState.PENDING:
            _, granted = issuer.grant(row, now.wall)
            return self.store.find_request(row.key) or row, [granted]
        return row, [queued_notice(self.config.name, row)]

    def grant(self, request_id: int | None, now: Now) -> list[CaNotice]:
        """`grant <1-999>`, or `grant all` with None: what can be granted is, the rest is told.

        Raises PkiError("unknown-request") for an id that is not listed.
        """
        issuer = self._issuer()
        wanted = self._pending() if request_id is None else (self._listed(request_id),)
        notices: list[CaNotice] = []
        for request in wanted:
            try:
                asked = self._issuer_asked(issuer, request)
                notices.append(asked.grant(request, now.wall)[1])
            except PkiError as error:
                notices.append(self._refused("grant", request, error.reason, error.detail))
        return notices

    def _issuer_asked(self, issuer: Issuer, request: EnrollmentRequest) -> Issuer:
        """Whose key the request was sent to: the present CA's or the next one's."""
        generation = request.key.generation
        if generation <= issuer.authority.generation:
            return issuer
        others = (item for item in other_issuers(issuer) if item.is_next)
        return next((item for item in others if item.authority.generation == generation), issuer)

    def reject(self, request_id: int | None) -> list[CaNotice]:
        """`reject <1-999>`, or all pending ones. Raises PkiError("unknown-request")."""
        wanted = self._pending() if request_id is None else (self._listed(request_id),)
        notices: list[CaNotice] = []
        for request in wanted:
            number = request.request_id or 0
            if self.store.reject_request(request.number):
                notices.append(RequestRejected(self.config.name, number))
            else:
                detail = f"request {number} is not pending any more"
                notices.append(self._refused("reject", request, "not-pending", detail))
        return notices

    def remove(self, request_id: int | None) -> list[CaNotice]:
        """`remove <1-999>`, or all requests. Raises PkiError("unknown-request")."""
        wanted = self.requests() if request_id is None else (self._listed(request_id),)
        return [
            RequestRemoved(self.config.name, request.request_id, False)
            for request in wanted
            if request.request_id is not None and self.store.remove_request(request.number)
        ]

    def generate_password(self, now: Now, minutes: int = PASSWORD_MINUTES, name: str = "") -> str:
        """`password generate`: 16 hexadecimal digits that let one router in, once, unasked.

        name: a value of its subject or alternative names; "": any router.
        """
        password = self._rng.draw("one_time_password", 8).hex().upper()
        self.store.add_password(
            password_digest(password, name), now.wall + timedelta(minutes=minutes)
        )
        return password

    def _pending(self) -> tuple[EnrollmentRequest, ...]:
        return tuple(
            request for request in self.store.requests() if request.state is RequestState.PENDING
        )

    def _listed(self, request_id: int) -> EnrollmentRequest:
        request = self.store.request(request_id)
        if request is None:
            raise PkiError("unknown-request", f"there is no enrollment request {request_id}")
        return request

    def _refused(
        self, message: str, request: EnrollmentRequest, reason: str, detail: str
    ) -> RequestRefused:
        return RequestRefused(self.config.name, message, request.key.transaction_id, reason, detail)
