"""Octets to scapy packets and back. No state, no keys, no clock."""
