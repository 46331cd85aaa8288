"""Attacks on our own hub, CA and lab: scripted senders and what must come of them. Sans-IO."""
