"""DEEPaaS modules to measure against: one that does nothing, and the tutorial's way."""
