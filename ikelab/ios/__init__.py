"""The IOS face: one command tree, show output, log lines."""
