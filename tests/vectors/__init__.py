"""Known answers of others, with their source."""
