"""Record known answers: two stock strongSwan daemons, main mode, quick mode, deletes.

    python -m tests.vectors.record_strongswan XFRM_LIBRARY [NAME ...]

Run as root from the top of the tree. XFRM_LIBRARY: the shared object that answers for a kernel
without ESP and writes down the keys the daemon gave it (tests/interop/conftest.py). One file per
suite is written to `tests/vectors/strongswan/`.

What a file holds is what charon computed (its log at level 4) and sent (the frames on the wire).
openssl alone opens the encrypted messages; nothing of ikelab's crypto or codec takes part. Both
daemons must agree on every key before a file is written. All keys are throw-away.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.interop.charon import Charon, Connection
from tests.interop.charon_log import (
    KernelSa,
    MainModeKeys,
    QuickModeKeys,
    parse_dumps,
    parse_main_mode,
    parse_quick_mode,
    read_kernel_sas,
)
from tests.interop.pki_files import PkiFiles
from tests.interop.segment import Segment
from tests.vectors.payload_walk import payload_bodies

OUTPUT = Path(__file__).parent / "strongswan"
INITIATOR, RESPONDER = "192.0.2.11", "192.0.2.1"
HEADER = 28
SA, KE, ID, NONCE = 1, 4, 5, 10


@dataclass(frozen=True, slots=True)
class Suite:
    """What one file is recorded with. cipher: openssl's name; key_length, block: octets."""

    name: str
    proposal: str
    esp_proposal: str
    cipher: str
    key_length: int
    block: int
    encryption: int
    hash: int
    group: int
    pre_shared_key: str | None = None
    bits: int = 2048


# encryption, hash, group: the numbers of RFC 2409 appendix A, RFC 3526, RFC 4868.
SUITES = (
    Suite(
        "rsa-aes256-sha256-modp2048",
        "aes256-sha256-modp2048",
        "aes256-sha256",
        *("aes-256-cbc", 32, 16, 7, 4, 14),
    ),
    Suite(
        "rsa-aes128-sha1-modp2048",
        "aes128-sha1-modp2048",
        "aes128-sha1",
        *("aes-128-cbc", 16, 16, 7, 2, 14),
    ),
    # Ka needs more octets than MD5 gives (appendix B), KEYMAT three rounds.
    Suite(
        "rsa-3des-md5-modp1024",
        "3des-md5-modp1024",
        "3des-md5",
        *("des-ede3-cbc", 24, 8, 5, 1, 2),
        bits=1024,
    ),
    Suite(
        "psk-aes256-sha256-modp2048",
        "aes256-sha256-modp2048",
        "aes256-sha256",
        *("aes-256-cbc", 32, 16, 7, 4, 14),
        pre_shared_key="a throw-away key",
    ),
    # Perfect forward secrecy, and AES-256 from SHA-1's 20 octets.
    Suite(
        "psk-aes256-sha1-modp1536-pfs",
        "aes256-sha1-modp1536",
        "aes256-sha256-modp1536",
        *("aes-256-cbc", 32, 16, 7, 2, 5),
        pre_shared_key="a throw-away key",
    ),
    Suite(
        "psk-aes192-sha512-modp2048",
        "aes192-sha512-modp2048",
        "aes192-sha512",
        *("aes-192-cbc", 24, 16, 7, 6, 14),
        pre_shared_key="a throw-away key",
    ),
)


@dataclass(frozen=True, slots=True)
class Recording:
    """One run: the messages in order, and both daemons' words (initiator, responder)."""

    messages: tuple[bytes, ...]
    logs: tuple[str, str]
    sas: tuple[list[KernelSa], list[KernelSa]]


def record(suite: Suite, library: Path, directory: Path) -> Recording:
    """Run the suite once in namespaces of its own."""
    pki = PkiFiles(directory / "pki", bits=suite.bits)
    # Whole datagrams on a 9000-octet segment, so that a frame is a message.
    with Segment(mtu=9000) as segment:
        segment.serve(pki.web)
        daemons = [
            Charon(
                segment.add_host(role, local),
                directory / role,
                _connection(suite, pki, role, local, remote),
                xfrm_library=library,
            )
            for role, local, remote in (
                ("spoke", INITIATOR, RESPONDER),
                ("hub", RESPONDER, INITIATOR),
            )
        ]
        initiator, responder = daemons
        with responder, initiator:
            initiator.initiate()
            responder.wait_for(responder.is_up, "installed child")
            initiator.terminate()
            responder.wait_for(lambda: not responder.list_sas(), "delete")
        messages = tuple(datagram.octets for datagram in segment.datagrams())
    logs = tuple(daemon.log_file.read_text() for daemon in daemons)
    sas = tuple(read_kernel_sas(daemon.sa_file) for daemon in daemons)
    return Recording(messages, (logs[0], logs[1]), (sas[0], sas[1]))


def _connection(suite: Suite, pki: PkiFiles, role: str, local: str, remote: str) -> Connection:
    if suite.pre_shared_key is not None:
        return Connection(
            local=local,
            remote=remote,
            proposal=suite.proposal,
            esp_proposal=suite.esp_proposal,
            pre_shared_key=suite.pre_shared_key,
            fragmentation=False,
        )
    leaf = pki.issue(role)
    return Connection(
        local=local,
        remote=remote,
        proposal=suite.proposal,
        esp_proposal=suite.esp_proposal,
        # One end by name, the other by the subject of its certificate.
        own_id=leaf.fqdn if role == "spoke" else "",
        certificate=leaf.certificate,
        key=leaf.key,
        authorities=(pki.root, pki.sub_ca),
        fragmentation=False,
    )


class Transcript:
    """The messages of a recording, opened with charon's Ka and openssl."""

    def __init__(self, suite: Suite, recording: Recording, keys: MainModeKeys) -> None:
        self.messages = recording.messages
        self._suite = suite
        self._key = keys.encryption_key
        self._ivs = _initial_ivs(recording.logs) | {0: keys.iv}
        self.plain = [self._open(message) for message in recording.messages]

    def select(self, exchange: int) -> list[int]:
        """Positions of the messages of one exchange type."""
        return [n for n, message in enumerate(self.messages) if message[18] == exchange]

    def _open(self, message: bytes) -> bytes:
        body = message[HEADER:]
        if not message[19] & 1:
            return body
        message_id = int.from_bytes(message[20:24], "big")
        iv = self._ivs[message_id]
        self._ivs[message_id] = body[-self._suite.block :]
        words = ["-d", f"-{self._suite.cipher}", "-K", self._key.hex(), "-iv", iv.hex(), "-nopad"]
        return subprocess.run(
            ["openssl", "enc", *words], input=body, capture_output=True, check=True
        ).stdout


def _initial_ivs(logs: tuple[str, str]) -> dict[int, bytes]:
    """The first IV that either log shows for a message ID other than 0."""
    ivs: dict[int, bytes] = {}
    for log in logs:
        for dump in parse_dumps(log):
            if dump.label.startswith("next IV for MID "):
                ivs.setdefault(int(dump.label.split()[-1]), dump.octets)
    return ivs


def describe(suite: Suite, recording: Recording) -> dict[str, object]:
    """The file's content. Raises ValueError where the daemons or their messages do not agree."""
    main, quick = _agreed(recording)
    transcript = Transcript(suite, recording, main)
    main_mode = transcript.select(2)
    quick_mode = transcript.select(32)
    if (len(main_mode), len(quick_mode)) != (6, 3):
        raise ValueError(f"{len(main_mode)} main mode and {len(quick_mode)} quick mode messages")
    bodies = [
        dict(payload_bodies(message[16], plain))
        for message, plain in zip(transcript.messages, transcript.plain, strict=True)
    ]
    mm = [bodies[n] for n in main_mode]
    qm = [bodies[n] for n in quick_mode]
    cky_i, cky_r = transcript.messages[main_mode[1]][:8], transcript.messages[main_mode[1]][8:16]
    g_xi, g_xr = mm[2][KE], mm[3][KE]
    if main.hash_i_data != g_xi + g_xr + cky_i + cky_r + mm[0][SA] + mm[4][ID]:
        raise ValueError("HASH_I was not taken over what was sent")
    return {
        "source": "two strongSwan 5.9.8 charons (Debian 12), log level 4, XFRM requests",
        "name": suite.name,
        "suite": {
            "encryption": suite.encryption,
            "key_length": suite.key_length,
            "block": suite.block,
            "hash": suite.hash,
            "group": suite.group,
        },
        "pre_shared_key": (suite.pre_shared_key or "").encode().hex() or None,
        "address_i": INITIATOR,
        "address_r": RESPONDER,
        "cky_i": cky_i.hex(),
        "cky_r": cky_r.hex(),
        "g_xi": g_xi.hex(),
        "g_xr": g_xr.hex(),
        "nonce_i": mm[2][NONCE].hex(),
        "nonce_r": mm[3][NONCE].hex(),
        "sai_b": mm[0][SA].hex(),
        "idii_b": mm[4][ID].hex(),
        "idir_b": mm[5][ID].hex(),
        **{name: getattr(main, name).hex() for name in _MAIN_MODE_FIELDS},
        "main_mode": _messages(transcript, main_mode),
        "quick_mode": {
            "message_id": quick.message_id,
            "iv": quick.iv.hex(),
            "g_qm_xy": quick.g_xy.hex(),
            "nonce_i": qm[0][NONCE].hex(),
            "nonce_r": qm[1][NONCE].hex(),
            "hash_1": quick.hash_1.hex(),
            "hash_2": quick.hash_2.hex(),
            "hash_3": quick.hash_3.hex(),
            "protocol_id": 3,
            "keymat": _keymat(recording, quick),
            "messages": _messages(transcript, quick_mode),
        },
        "informational": [
            _informational(transcript, recording.logs, n) for n in transcript.select(5)
        ],
    }


_MAIN_MODE_FIELDS = (
    *("g_xy", "skeyid", "skeyid_d", "skeyid_a", "skeyid_e", "encryption_key", "iv"),
    *("hash_i", "hash_r"),
)


def _agreed(recording: Recording) -> tuple[MainModeKeys, QuickModeKeys]:
    main = [parse_main_mode(log) for log in recording.logs]
    quick = [parse_quick_mode(log) for log in recording.logs]
    if main[0] != main[1] or quick[0] != quick[1]:
        raise ValueError("the daemons do not agree")
    return main[0], quick[0]


def _messages(transcript: Transcript, numbers: list[int]) -> list[dict[str, str]]:
    """Each message as sent; beside an encrypted one, its body as openssl opened it."""
    return [
        {"message": message.hex(), **({"plain": plain.hex()} if message[19] & 1 else {})}
        for message, plain in ((transcript.messages[n], transcript.plain[n]) for n in numbers)
    ]


def _keymat(recording: Recording, quick: QuickModeKeys) -> list[dict[str, str]]:
    """Both directions, as the kernels of both ends got them."""
    ends = [{sa.spi: sa for sa in sas} for sas in recording.sas]
    if ends[0] != ends[1] or len(ends[0]) != 2:
        raise ValueError("the ends installed different SAs")
    keymat = []
    for sender, keys in ((INITIATOR, quick.from_initiator), (RESPONDER, quick.from_responder)):
        (sa,) = (sa for sa in ends[0].values() if sa.source == sender)
        if (sa.encryption_key, sa.integrity_key) != (keys.encryption_key, keys.integrity_key):
            raise ValueError("the kernel got other keys than were derived")
        keymat.append(
            {
                "sender": "initiator" if sender == INITIATOR else "responder",
                "spi": sa.spi.hex(),
                "encryption_key": sa.encryption_key.hex(),
                "integrity_key": sa.integrity_key.hex(),
            }
        )
    return keymat


def _informational(transcript: Transcript, logs: tuple[str, str], number: int) -> dict[str, object]:
    """A delete: its message ID, initial IV and HASH(1) as the sender logged them."""
    message = transcript.messages[number]
    message_id = int.from_bytes(message[20:24], "big")
    dumps = parse_dumps(logs[0])
    position = next(
        n for n, dump in enumerate(dumps) if dump.label == f"next IV for MID {message_id}"
    )
    # The sender logs the hash right before the IV of the message that carries it.
    hash_1 = dumps[position - 1]
    if hash_1.label != "Hash":
        raise ValueError(f"{hash_1.label!r} stands where the hash was expected")
    return {
        "message_id": message_id,
        "iv": dumps[position].octets.hex(),
        "hash_1": hash_1.octets.hex(),
        "message": message.hex(),
        "plain": transcript.plain[number].hex(),
    }


def main(arguments: list[str]) -> None:
    """Record the named suites, or all."""
    library, names = Path(arguments[0]).resolve(), set(arguments[1:])
    OUTPUT.mkdir(exist_ok=True)
    for suite in SUITES:
        if names and suite.name not in names:
            continue
        with tempfile.TemporaryDirectory(prefix="ikelab-t-") as directory:
            content = describe(suite, record(suite, library, Path(directory)))
        (OUTPUT / f"{suite.name}.json").write_text(json.dumps(content, indent=1) + "\n")
        print(suite.name, file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
