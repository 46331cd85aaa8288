"""Tests, as a package, so that folders can share builders by name."""
