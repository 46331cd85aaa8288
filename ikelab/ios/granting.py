"""What is said of a certificate server that certifies whoever asks (`grant auto`)."""

from __future__ import annotations

from collections.abc import Iterator

from ikelab.ios.config import RunningConfig


def grant_warnings(config: RunningConfig) -> Iterator[str]:
    """A sentence on each server with `grant auto`: SCEP does not say who asks (VU#971035).

    The guide's best practice is to grant by hand, which is the default.
    """
    for server in config.servers.values():
        if server.grant == "auto":
            yield (
                f"crypto pki server {server.name} has `grant auto`: whoever reaches its port"
                f" {config.http_port} gets a certificate in the name that is asked for;"
                " `no grant auto` lets requests wait for the administrator"
            )
