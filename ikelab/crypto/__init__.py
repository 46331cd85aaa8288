"""Pure functions: key derivation, ciphers, signatures (RFC 2409)."""
