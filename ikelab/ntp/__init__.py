"""NTP (RFC 5905): the packet, a server's answer, a client's associations. No sockets, no clock."""
