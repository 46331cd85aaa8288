"""Certificates, CRLs, SCEP, trustpoints and certificate servers. Sans-IO."""
