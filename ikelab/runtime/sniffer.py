"""Captures one device of a namespace into a pcapng file, frame by frame, as they happen.

For the bridge of a segment: in promiscuous mode the kernel hands every frame that the bridge
forwards or floods to the bridge device exactly once, whichever ports it goes between, and a frame
the bridge itself sends once more as outgoing. (On a veth end both directions are seen once, too.)
Timestamps are the kernel's, in nanoseconds of CLOCK_REALTIME, moved to the lab's clock: a frame
then has the date that logs and certificates speak of, also after years were passed over.

The file grows with each turn of the loop, mode 0600, and is a whole capture at any moment but for
a last block that a crash may tear (`capture.pcapng.parse(..., torn=True)`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from pathlib import Path

from ikelab.capture import pcapng
from ikelab.capture.annotate import APPLICATION
from ikelab.errors import LabError
from ikelab.runtime.clock import LabClock
from ikelab.runtime.namespace import inside

FRAMES_PER_TURN = 256  # then the other descriptors of the loop have their turn

_RECEIVE_BUFFER = 32 << 20  # octets: some seconds of a busy lab while the loop does other work

# linux/if_ether.h, linux/if_packet.h, asm-generic/socket.h
_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_STATISTICS = 6
_PACKET_AUXDATA = 8
_PACKET_MR_PROMISC = 1
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_SO_TIMESTAMPNS = 35
_TP_STATUS_VLAN_VALID = 0x10
_TP_STATUS_VLAN_TPID_VALID = 0x40
_TIMESPEC = struct.Struct("@qq")
_AUXDATA = struct.Struct("@IIIHHHH")  # struct tpacket_auxdata
_BPF_RETURN_ZERO = struct.pack("@HBBI", 0x06, 0, 0, 0)  # struct sock_filter: BPF_RET | BPF_K
_ADDRESSES = 12  # octets of the two hardware addresses, before a VLAN tag
_CONTROL = socket.CMSG_SPACE(_TIMESPEC.size) + socket.CMSG_SPACE(_AUXDATA.size)


class Sniffer:
    """An AF_PACKET socket and the file it fills. Capturing begins with the object.

    device: in namespace (None: this one). path: made anew. name, description: of the segment.
    clock: the lab's; None: the machine's.
    Raises LabError where there is no such device, no right to it, or no such directory.
    """

    def __init__(
        self,
        device: str,
        path: Path,
        *,
        name: str,
        description: str = "",
        namespace: str | None = None,
        clock: LabClock | None = None,
    ) -> None:
        self._clock = clock or LabClock()
        self.device = device
        self.path = path
        self.frames = 0
        self.dropped = 0
        self.interface = pcapng.Interface(name, description)
        self._buffer = bytearray(pcapng.SNAPLEN)
        self._file = _create(path)
        try:
            with inside(namespace):
                self._socket = _open(device)
        except LabError:
            os.close(self._file)
            raise
        try:
            self._write(
                pcapng.build_section_header(application=APPLICATION)
                + pcapng.build_interface(self.interface)
            )
        except LabError:
            self._close()
            raise

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def on_readable(self) -> int:
        """Write the frames that came in, at most a turn's worth; how many there were."""
        blocks: list[bytes] = []
        ahead = self._clock.ahead_of_machine_ns()
        while len(blocks) < FRAMES_PER_TURN:
            frame = self._receive(ahead)
            if frame is None:
                break
            blocks.append(pcapng.build_frame(frame))
        if blocks:
            self.frames += len(blocks)
            self._write(b"".join(blocks))
        return len(blocks)

    def stop(self) -> None:
        """Write what is still queued, then close; a second call does nothing.

        Frames sent after the call began are left out, so it ends on a busy segment too. Raises
        LabError where the rest cannot be written; it is closed then all the same.
        """
        if self._file < 0:
            return
        try:
            self._refuse_more()
            while self.on_readable():
                pass
            self._count_drops()
        finally:
            self._close()

    def _receive(self, ahead: int) -> pcapng.Frame | None:
        """The next frame of the queue. ahead: nanoseconds to the lab's clock."""
        try:
            length, ancillary, _, _ = self._socket.recvmsg_into(
                [self._buffer], _CONTROL, socket.MSG_TRUNC
            )
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.ENETDOWN:  # the device is down, or gone: told once
                raise
            return None
        timestamp = 0
        octets = bytes(self._buffer[: min(length, len(self._buffer))])
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack(value)
                timestamp = seconds * 1_000_000_000 + nanoseconds + ahead
            elif level == _SOL_PACKET and kind == _PACKET_AUXDATA:
                tag = _vlan_tag(value)
                octets = octets[:_ADDRESSES] + tag + octets[_ADDRESSES:]
                length += len(tag)
        return pcapng.Frame(0, timestamp, octets, (), length if length > len(octets) else None)

    def _refuse_more(self) -> None:
        """Let nothing more into the queue: a filter of one instruction, "keep 0 octets"."""
        instruction = ctypes.create_string_buffer(_BPF_RETURN_ZERO)
        program = struct.pack("@HP", 1, ctypes.addressof(instruction))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)

    def _count_drops(self) -> None:
        """What the queue had no room for."""
        packed = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        self.dropped += int(struct.unpack("@II", packed)[1])

    def _close(self) -> None:
        self._socket.close()
        os.close(self._file)
        self._file = -1

    def _write(self, octets: bytes) -> None:
        """All of them, or LabError: a full disk must not pass for a quiet segment."""
        try:
            while octets:
                octets = octets[os.write(self._file, octets) :]
        except OSError as error:
            raise LabError(
                f"cannot write {self.path}: {error.strerror}", hint="is the disk full?"
            ) from error


def _create(path: Path) -> int:
    """A new file for its owner only; frames and keys belong together."""
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        os.fchmod(descriptor, 0o600)
    except OSError as error:
        raise LabError(f"cannot create {path}: {error.strerror}") from error
    return descriptor


def _open(device: str) -> socket.socket:
    """A packet socket on one device, promiscuous, with the kernel's timestamps."""
    try:
        # Protocol 0 receives nothing: no frame of another device slips in before bind.
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        sniffer = socket.socket(socket.AF_PACKET, kind, 0)
    except PermissionError as error:
        raise LabError(
            "no right to a packet socket",
            hint="it needs CAP_NET_RAW in the namespace (start with sudo)",
        ) from error
    try:
        _enlarge(sniffer)
        sniffer.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sniffer.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        index = socket.if_nametoindex(device)
        membership = struct.pack("@iHH8s", index, _PACKET_MR_PROMISC, 0, b"")
        sniffer.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        sniffer.bind((device, _ETH_P_ALL))
    except OSError as error:
        sniffer.close()
        raise LabError(f"cannot capture on {device}: {os.strerror(error.errno or 0)}") from error
    return sniffer


def _enlarge(sniffer: socket.socket) -> None:
    """A large receive buffer, as far as this process may."""
    try:
        sniffer.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except PermissionError:
        sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)


def _vlan_tag(auxdata: bytes) -> bytes:
    """The 802.1Q tag that the kernel took out of the frame, or nothing."""
    status, _, _, _, _, tci, tpid = _AUXDATA.unpack(auxdata[: _AUXDATA.size])
    if not status & _TP_STATUS_VLAN_VALID:
        return b""
    return struct.pack("!HH", tpid if status & _TP_STATUS_VLAN_TPID_VALID else 0x8100, tci)
