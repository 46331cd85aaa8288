"""Log lines of NTP: IOS's where a public trace shows them, else our own, marked as such."""

from __future__ import annotations

from ikelab.ios.log_line import ClockUpdated, LogLine, own, system_lines
from ikelab.ios.zone import UTC_ZONE, Zone
from ikelab.ntp import client as ntp


def ntp_lines(notice: object, zone: Zone = UTC_ZONE) -> list[LogLine]:
    """The lines of one action or notice; none for anything else."""
    match notice:
        case ntp.SetClock(before=before, server=server, step=True):
            return system_lines(ClockUpdated(before, notice.date, f"NTP by {server}"), zone)
        case ntp.LoseClock(server):
            return [own("NTP", f"{server} is no source any more: the clock goes on by itself")]
        case ntp.NtpSynced(server):
            return [LogLine(f"%NTP-5-PEERSYNC: NTP synced to peer {server}")]
        case ntp.NtpRefused(server, reason, detail):
            return [own("NTP", f"answer of {server} refused: {reason}: {detail}")]
        case _:
            return []
