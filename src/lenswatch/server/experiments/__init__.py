"""Experiments and users."""
