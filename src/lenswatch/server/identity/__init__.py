"""Callers: their identity, and their permissions."""
