"""Values, and what may be stored of them."""
