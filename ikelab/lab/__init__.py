"""Topology files, namespaces, processes, the command line."""
