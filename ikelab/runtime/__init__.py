"""The only place for sockets, real clocks, randomness, files and signals."""
