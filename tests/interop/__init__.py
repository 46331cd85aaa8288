"""Tests against programs that others wrote: strongSwan, openssl."""
