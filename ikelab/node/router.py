"""One router, hub or CA: its engines composed, their actions carried between them. Sans-IO.

An IOS box is all of these at once: IKE, trustpoints, perhaps a certificate server. What one engine
asks of another is answered here (the IKE engine's `CheckPeerCert` by the revocation checker, a
sub-CA's certificate by its trustpoint); everything else goes out as an action of the node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import count

from ikelab.errors import PkiError
from ikelab.ios.config import LabMode, RunningConfig
from ikelab.isakmp import events as isakmp
from ikelab.isakmp.engine import IsakmpEngine
from ikelab.node.askers import asker_of
from ikelab.node.credentials import accepted, credential_of, trust_of
from ikelab.node.crl_queries import CrlQueries, named_crls
from ikelab.node.device import device_of
from ikelab.node.events import (
    AcquireSa,
    ClockStepped,
    FileNotStored,
    FileStored,
    NodeAction,
    NodeEvent,
    StorageNotRead,
    StorageRead,
)
from ikelab.node.examinations import Examinations
from ikelab.node.fallback import config_in_force, first_step, is_unanswered
from ikelab.node.flows import refuse_faults, to_isakmp_config
from ikelab.node.keys import EngineKeys, NodeKeys
from ikelab.node.servers import make_server, no_way_up, server_key_label
from ikelab.node.storage import StorageQueue, held_authority
from ikelab.ntp.client import Answered, NtpClient
from ikelab.pki import enrollment_events as enrollment
from ikelab.pki.ca_events import HttpIn, HttpOut, ServerRemoved
from ikelab.pki.cert_server import CertificateServer, ServerState
from ikelab.pki.config import CertServerConfig
from ikelab.pki.enrollment_events import Trust
from ikelab.pki.events import (
    CaCertificateAccepted,
    CertificateInstalled,
    GenerationSwapped,
    HttpFailed,
    HttpReply,
    HttpRequest,
    NextCaHeld,
    NextCertificateHeld,
)
from ikelab.pki.registration_authority import RegistrationAuthority
from ikelab.pki.revocation import PathAccepted, PathRefused, RevocationAction, RevocationChecker
from ikelab.pki.store import CaStore, Nvram
from ikelab.pki.terminal_trustpoint import TerminalTrustpoint
from ikelab.pki.trustpoint import State as TrustpointState
from ikelab.pki.trustpoint import Trustpoint
from ikelab.pki.x509 import load_certificate
from ikelab.types import Now, Rng, Timer, earliest, is_due

# Prefixes of HTTP handles, so that an answer finds its asker.
_TRUSTPOINT = "trustpoint "
_SERVER = "server "


class Router:
    """One IOS box. open_store: the durable memory of the certificate server of a name."""

    def __init__(
        self,
        config: RunningConfig,
        mode: LabMode,
        *,
        rng: Rng,
        keys: NodeKeys,
        nvram: Nvram,
        open_store: Callable[[str], CaStore],
    ) -> None:
        self.config = config
        self.mode: LabMode = mode
        self.nvram = nvram
        self.revocation = RevocationChecker(legacy=mode == "legacy")
        self._crl_queries = CrlQueries(
            lambda name: asker_of(self.config, nvram, name, rng, legacy=self.legacy)
        )
        self.trustpoints: dict[str, Trustpoint] = {}
        self.servers: dict[str, CertificateServer] = {}
        self.queues: dict[str, StorageQueue] = {}
        self._examinations = Examinations()
        self.last_refusal: dict[str, isakmp.Refused] = {}
        self._standing_in: set[str] = set()  # trustpoints that enroll in place of another
        self._rng = rng
        self.ntp = NtpClient(rng.draw)
        self._keys = keys
        self._open_store = open_store
        self._tickets = count(1)
        self.isakmp = IsakmpEngine(
            to_isakmp_config(config, mode=mode), rng, EngineKeys(keys, nvram)
        )

    @property
    def legacy(self) -> bool:
        """Whether the algorithms of 2009 are allowed."""
        return self.mode == "legacy"

    # --- the contract -------------------------------------------------------------------------

    def start(self, now: Now) -> list[NodeAction]:
        """Boot: make what the configuration asks for, go on where nvram says we were."""
        return self.configure(self.config, now)

    def handle(self, event: NodeEvent, now: Now) -> list[NodeAction]:
        """Take one event; what must be done or told, in order."""
        match event:
            case isakmp.TimerFired():
                return self._fire(now)
            case ClockStepped(shift):
                self.ntp.shift(shift)
                return self._fire(now, stepped=True)
            case HttpReply(handle) | HttpFailed(handle):
                return self._web_answer(handle, event, now)
            case FileStored(server) | FileNotStored(server):
                return self.queues[server].handle(event, now) if server in self.queues else []
            case StorageRead() | StorageNotRead():
                return [a for name in self.queues for a in self._storage_opened(name, event, now)]
            case Answered():
                return [*self.ntp.take(event, now)]
            case AcquireSa(name):
                flows = (flow for flow in self.isakmp.config.flows if flow.name == name)
                return [a for flow in flows for a in self._ike(isakmp.SaRequested(flow), now)]
            case _:
                return self._ike(event, now)

    def timers(self) -> list[Timer]:
        """What the engines wait for, in no order."""
        timers = [self.isakmp.next_timer(), self.ntp.next_timer()]
        timers += [trustpoint.next_timer() for trustpoint in self.trustpoints.values()]
        timers += [trustpoint.swap_timer for trustpoint in self.trustpoints.values()]
        timers += [timer for server in self.servers.values() for timer in server.timers()]
        timers += [queue.next_timer() for queue in self.queues.values()]
        return [timer for timer in timers if timer is not None]

    def next_timer(self, now: Now) -> Timer | None:
        """When `TimerFired` is wanted next."""
        return earliest(self.timers(), now)

    @property
    def awaits_answer(self) -> bool:
        """Whether a datagram was sent that somebody should answer at once."""
        return self.isakmp.awaits_answer or self.ntp.awaits_answer

    @contextmanager
    def group(self) -> Iterator[None]:
        """A block of `serve`s whose records reach the disk together, when it is left.

        Nothing they gave may be sent, stored or logged before.
        """
        with ExitStack() as stack:
            for server in self.servers.values():
                stack.enter_context(server.store.group())
            yield

    def serve(self, request: HttpIn, now: Now) -> tuple[HttpOut, list[NodeAction]]:
        """`ip http server`: SCEP and CRLs of the certificate server that is enabled.

        A CertRep is still to be signed: `HttpOut.sign`.
        """
        for server in self.servers.values():
            if server.config.enabled:
                answer = server.answer(request, now)
                return answer, [*answer.notices, *self._pump(server.config.name)]
        return HttpOut(404, "text/plain", b"no certificate server here\n"), []

    # --- configuration ------------------------------------------------------------------------

    def configure(self, config: RunningConfig, now: Now) -> list[NodeAction]:
        """A new configuration is in force: make, change and drop what it names.

        Raises ConfigError where it does not fit together; then all stays as it was.
        """
        refuse_faults(config, mode=self.mode)
        before, self.config = self.config, config
        self.revocation.set_limit(config.crl_cache * 1024)
        actions: list[NodeAction] = []
        for label, bits in config.key_pairs.items():
            if self.nvram.load_key(label) is None:
                key = self._keys.rsa_key(label, bits)
                exportable = label in config.exportable
                self.nvram.save_key(label, key, now.wall, exportable=exportable)
        actions += self.ntp.configure(config.ntp_servers, now, logging=config.ntp_logging)
        actions += self._configure_servers(before, now)
        actions += self._configure_trustpoints(before, now)
        return actions + self._refresh_isakmp(now)

    def _configure_servers(self, before: RunningConfig, now: Now) -> list[NodeAction]:
        actions: list[NodeAction] = []
        for name in [name for name in self.servers if name not in self.config.servers]:
            actions.append(self._remove_server(name))
        for name, wanted in self.config.servers.items():
            server = self.servers.get(name)
            was_enabled = server is not None and before.servers[name].enabled
            if server is None or (wanted.mode == "ra") != isinstance(server, RegistrationAuthority):
                if server is not None and server.state is not ServerState.DISABLED:
                    actions += server.shut(now)
                server, was_enabled = self._make_server(wanted, server), False
                self.servers[name], self.queues[name] = server, StorageQueue(server, self._tickets)
            server.config = wanted
            if wanted.enabled and not was_enabled:
                actions += self.queues[name].open()
            elif was_enabled and not wanted.enabled:
                self.queues[name].close()
                if server.state is not ServerState.DISABLED:
                    actions += server.shut(now)
            actions += self._pump(name)
        return actions

    def _make_server(
        self, config: CertServerConfig, before: CertificateServer | None
    ) -> CertificateServer:
        """before: the server of this name in another mode; a store is open once only."""
        store = self._open_store(config.name) if before is None else before.store
        running, rng, keys = lambda: self.config, self._rng, self._keys
        return make_server(
            config, store, running, rng=rng, keys=keys, nvram=self.nvram, legacy=self.legacy
        )

    def _remove_server(self, name: str) -> NodeAction:
        """`no crypto pki server`: key and database are destroyed, the storage keeps its files."""
        server = self.servers.pop(name)
        del self.queues[name]
        waiting = tuple(file.name for file in server.store.outbox())
        server.store.destroy()
        label = server_key_label(self.config, name)
        if not self.nvram.key_users(label):  # with it, serial numbers would begin anew
            self.nvram.delete_key(label)
        return ServerRemoved(name, server.config.database_url, waiting)

    def _storage_opened(
        self, name: str, event: StorageRead | StorageNotRead, now: Now
    ) -> list[NodeAction]:
        """A server's storage was read: it starts, a subordinate one enrolls if it must."""
        identity = held_authority(self.trustpoints.get(name), self.nvram)
        actions = self.queues[name].opened(event, identity, now)
        if actions and name in self.trustpoints:
            actions += self._enroll_by_itself(name, now)
            actions += self._generation_came(name, now)  # it may have been killed in between
        return [*actions, *no_way_up(self.servers[name], self.trustpoints.get(name))]

    def _configure_trustpoints(self, before: RunningConfig, now: Now) -> list[NodeAction]:
        for name in [name for name in self.trustpoints if name not in self.config.trustpoints]:
            self.nvram.delete_trustpoint(name)
            del self.trustpoints[name]
        actions: list[NodeAction] = []
        for name, wanted in self.config.trustpoints.items():
            if name in self.trustpoints and before.trustpoints.get(name) == wanted:
                continue
            device = device_of(self.config)
            kind = Trustpoint if wanted.terminal is None else TerminalTrustpoint
            self.trustpoints[name] = kind(
                wanted,
                device,
                self._rng,
                self._keys,
                self.nvram,
                legacy=self.legacy,
                ca_subject=self._ca_subject(name),
            )
        for name, trustpoint in self.trustpoints.items():
            trustpoint.config = config_in_force(self.config, trustpoint)
            server = self.servers.get(name)
            trustpoint.overlap = None if server is None else server.rollover_overlap
            actions += self._enroll_by_itself(name, now)
        return actions

    def _ca_subject(self, name: str) -> str | None:
        """The name to ask for where the trustpoint is that of a subordinate server."""
        server = self.config.servers.get(name)
        if server is None or server.mode != "sub-cs":
            return None
        return server.issuer_name or f"CN={name}"

    # --- trustpoints --------------------------------------------------------------------------

    def authenticate(self, name: str, now: Now) -> list[NodeAction]:
        """`crypto pki authenticate`; nothing where the CA is known or being asked already."""
        trustpoint = self.trustpoints.get(name)
        if trustpoint is not None and not trustpoint.wants_ca(now):
            return []
        return self._trustpoint(name, enrollment.Authenticate(), now)

    def accept(self, name: str, yes: bool, now: Now) -> list[NodeAction]:
        """The answer to "Do you accept this certificate?"."""
        return self._trustpoint(name, enrollment.AcceptCa(yes), now)

    def enroll(self, name: str, now: Now, password: str | None = None) -> list[NodeAction]:
        """`crypto pki enroll`."""
        return self._trustpoint(name, enrollment.Enroll(password), now)

    def paste(
        self, name: str, pasted: enrollment.PastedCa | enrollment.PastedCertificate, now: Now
    ) -> list[NodeAction]:
        """What somebody pasted for a trustpoint of `enrollment terminal`."""
        return self._trustpoint(name, pasted, now)

    def forget(self, name: str) -> None:
        """Read a trustpoint anew from nvram at the next `configure`."""
        self.trustpoints.pop(name, None)

    def find_trustpoint(self, name: str) -> Trustpoint:
        """By name. Raises PkiError("unknown-trustpoint")."""
        if name not in self.trustpoints:
            raise PkiError("unknown-trustpoint", f"there is no trustpoint {name}")
        return self.trustpoints[name]

    def draw(self, label: str, octets: int) -> bytes:
        """Random octets of this node."""
        return self._rng.draw(label, octets)

    def request_crl(self, name: str, now: Now) -> list[NodeAction]:
        """`crypto pki crl request`: what `named_crls` gives, whatever the cache holds."""
        actions: list[NodeAction] = []
        for url, issuer in named_crls(self.find_trustpoint(name)):
            found = self.revocation.request(url, issuer, name)
            actions += self._revocation_actions(found, now)
        return actions

    def _trustpoint(
        self, name: str, event: enrollment.TrustpointEvent, now: Now
    ) -> list[NodeAction]:
        actions: list[NodeAction] = []
        for action in self.find_trustpoint(name).handle(event, now):
            if isinstance(action, HttpRequest):
                action = replace(action, handle=_TRUSTPOINT + name + " " + action.handle)
            actions.append(action)
            if isinstance(action, CaCertificateAccepted):
                actions += self._refresh_isakmp(now)
                actions += self._enroll_by_itself(name, now)
            elif isinstance(action, CertificateInstalled):
                actions += self._certificate_came(name, now)
            elif isinstance(action, NextCaHeld | NextCertificateHeld | GenerationSwapped):
                actions += self._generation_came(name, now)
        return actions + self._fall_back(name, actions, now)

    def _fall_back(self, name: str, told: Sequence[NodeAction], now: Now) -> list[NodeAction]:
        """Let the other trustpoint enroll if this one's CA gave no answer. One step, no chain."""
        point = self.trustpoints[name]
        other = self.trustpoints.get(point.config.fallback or "")
        if other is None or name in self._standing_in or not is_unanswered(point, told):
            return []
        event = first_step(other)
        if event is None:
            return []
        self._standing_in.add(other.config.name)
        started = enrollment.FallbackStarted(name, other.config.name)
        return [started, *self._trustpoint(other.config.name, event, now)]

    def _enroll_by_itself(self, name: str, now: Now) -> list[NodeAction]:
        """A subordinate server's `no shut` enrolls without being asked (guide, Step 4); so does a
        trustpoint that another one falls back to."""
        server = self.servers.get(name)
        waits = server is not None and server.state is ServerState.REQUEST_PENDING
        if not waits and name not in self._standing_in:
            return []
        if self.trustpoints[name].state is not TrustpointState.CA_AUTHENTICATED:
            return []
        return self._trustpoint(name, enrollment.Enroll(), now)

    def _certificate_came(self, name: str, now: Now) -> list[NodeAction]:
        point = self.trustpoints[name]
        point.config = config_in_force(self.config, point)
        self._standing_in.discard(name)
        server, credential = self.servers.get(name), point.credential
        if server is None or credential is None:
            return self._refresh_isakmp(now)
        key = self.nvram.load_key(credential.key_label)
        assert key is not None, "nvram keeps a certificate with its key"
        notices = server.install_certificate(credential.certificate, credential.chain, key, now)
        return [*notices, *self._pump(name)]

    def _generation_came(self, name: str, now: Now) -> list[NodeAction]:
        """A next generation is held, or in force: for peers, IKE, and the server of the name."""
        point, server = self.trustpoints[name], self.servers.get(name)
        if server is None:
            return self._refresh_isakmp(now)
        held = point.following
        if server.config.mode == "ra":  # it has nothing to prepare, and goes over when it is time
            return [] if held is not None else self._certificate_came(name, now)
        key = None if held is None else self.nvram.load_key(held.key_label or "")
        if held is None or held.certificate is None or key is None:
            return []  # a CA has its own copy of what is in force
        notices = server.install_certificate(held.certificate, held.ca_certificates, key, now)
        return [*notices, *self._pump(name)]

    # --- IKE ----------------------------------------------------------------------------------

    def _ike(self, event: isakmp.Event, now: Now) -> list[NodeAction]:
        actions: list[NodeAction] = []
        for action in self.isakmp.handle(event, now):
            if isinstance(action, isakmp.CheckPeerCert):
                trusts = [self._trust(point) for point in self._ike_trustpoints() if point.anchors]
                self._examinations.begin(action.handle, action.certificates, trusts)
                checked = self.revocation.check(action.handle, action.certificates, trusts, now)
                actions += self._revocation_actions(checked, now)
            else:
                actions.append(action)
            if isinstance(action, isakmp.Refused):
                self.last_refusal[action.reason] = action
        return actions

    def _revocation_actions(self, given: Sequence[RevocationAction], now: Now) -> list[NodeAction]:
        actions: list[NodeAction] = []
        for action in given:
            match action:
                case PathAccepted(handle, trustpoint, path):
                    waiting = self.isakmp.table.sas.get(handle)
                    peer_id = None if waiting is None else waiting.peer_id
                    told = accepted(handle, trustpoint, path[0], peer_id)
                    actions += [*self._examinations.end(handle), *self._ike(told, now)]
                case PathRefused(handle, reason, detail):
                    actions += self._examinations.end(handle, reason)
                    actions += self._ike(isakmp.PeerCertRefused(handle, reason, detail), now)
                case HttpRequest():
                    begun = self._crl_queries.begin(action)
                    if isinstance(begun, HttpFailed):
                        actions += self._revocation_actions(self.revocation.handle(begun, now), now)
                    else:
                        actions.append(begun)
                case _:
                    actions.append(action)
        return actions

    def _trust(self, point: Trustpoint) -> Trust:
        """What a trustpoint lets peers be checked against, with `chain-validation continue PARENT`
        followed upwards; `find_faults` has seen to it that this ends.
        """
        parent = self.trustpoints.get(point.config.parent or "")
        return trust_of(point, None if parent is None else self._trust(parent))

    def _ike_trustpoints(self) -> Iterator[Trustpoint]:
        """All but those of certificate servers, whose certificates sign certificates only."""
        return (
            point for name, point in self.trustpoints.items() if name not in self.config.servers
        )

    def _refresh_isakmp(self, now: Now) -> list[NodeAction]:
        credentials = [
            credential
            for point in self._ike_trustpoints()
            if (credential := credential_of(point)) is not None
        ]
        authorities = [
            (point.config.name, load_certificate(point.anchors[0]).subject)
            for point in self._ike_trustpoints()
            if point.anchors
        ]
        wanted = to_isakmp_config(self.config, credentials, authorities, mode=self.mode)
        if wanted == self.isakmp.config:
            return []
        return list(self.isakmp.handle(isakmp.ConfigChanged(wanted), now))

    # --- web, files, time ---------------------------------------------------------------------

    def _web_answer(self, handle: str, event: HttpReply | HttpFailed, now: Now) -> list[NodeAction]:
        if handle.startswith(_SERVER):
            name, inner = handle.removeprefix(_SERVER).split(" ", 1)
            server = self.servers.get(name)
            return [] if server is None else [*server.answered(replace(event, handle=inner), now)]
        if not handle.startswith(_TRUSTPOINT):
            event = self._crl_queries.answered(event)
            return self._revocation_actions(self.revocation.handle(event, now), now)
        name, inner = handle.removeprefix(_TRUSTPOINT).split(" ", 1)
        if name not in self.trustpoints:
            return []
        return self._trustpoint(name, replace(event, handle=inner), now)

    def _pump(self, server: str) -> list[NodeAction]:
        return self.queues[server].pump()

    def _fire(self, now: Now, *, stepped: bool = False) -> list[NodeAction]:
        """What is due; where the clock was set, whatever goes by the date is asked."""
        actions: list[NodeAction] = []
        if is_due(self.ntp.next_timer(), now):
            actions += self.ntp.poll(now)
        if is_due(self.isakmp.next_timer(), now):
            actions += self._ike(isakmp.TimerFired(), now)
        for name, point in list(self.trustpoints.items()):
            timers = (point.next_timer(), point.swap_timer)
            if stepped or any(is_due(timer, now) for timer in timers):
                actions += self._trustpoint(name, enrollment.TimerFired(), now)
        for name, server in self.servers.items():
            if stepped or is_due(server.next_timer(), now):
                actions += server.tick(now)
                asked = server.ask(now)
                actions += [replace(a, handle=f"{_SERVER}{name} {a.handle}") for a in asked]
            actions += self.queues[name].tick(now)
            actions += self._pump(name)
        return actions
