"""What a router says of itself when it asks for a certificate."""

from __future__ import annotations

from hashlib import sha256

from ikelab.ios.config import RunningConfig
from ikelab.pki.enrollment_events import Device


def device_of(config: RunningConfig) -> Device:
    """Its name and its serial number."""
    return Device(config.fqdn, board_serial(config.hostname))


def board_serial(hostname: str) -> str:
    """The serial number that a router's certificate carries with `serial-number`.

    Real boards have FTX1048A6QA or the like; a lab's is made from the host name, so that it stays.
    """
    return "LAB" + sha256(hostname.encode()).hexdigest()[:8].upper()
