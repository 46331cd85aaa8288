"""ikelab: a packet-level IKEv1 and certificate lab on virtual interfaces."""
