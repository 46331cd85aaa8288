"""A whole router, CA or hub: engines composed, still sans-IO."""
