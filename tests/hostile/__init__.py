"""Attacks on our own CA, hub and lab: scripted senders and what must come of them."""
