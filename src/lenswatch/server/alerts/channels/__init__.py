"""Channels: a small module for each, with one function that sends a message and returns the outcome."""
