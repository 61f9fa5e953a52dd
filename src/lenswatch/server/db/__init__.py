"""The tracking server's database."""
