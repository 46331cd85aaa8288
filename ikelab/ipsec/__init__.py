"""ESP encapsulation and the SAs that the userspace data plane runs on."""
