"""Octets and text for Wireshark: pcapng, comments, key tables. Opens no files."""
