"""The changes, a module for each."""
