"""IKEv1: state tables, engine, main mode, quick mode (RFC 2408, 2409, 2407). Sans-IO."""
