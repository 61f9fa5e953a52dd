"""Work that happens by itself, later, in one process of all."""
