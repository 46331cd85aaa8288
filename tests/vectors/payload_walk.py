"""The chain of payloads, walked without our codec: the recorder and its tests need no more."""


def payload_bodies(first: int, octets: bytes) -> list[tuple[int, bytes]]:
    """(type, body) of each payload; what follows the last one is padding (RFC 2408 §3.2)."""
    found = []
    while first:
        length = int.from_bytes(octets[2:4], "big")
        found.append((first, octets[4:length]))
        first, octets = octets[0], octets[length:]
    return found
