"""Values that are stored and returned, and their limits."""
