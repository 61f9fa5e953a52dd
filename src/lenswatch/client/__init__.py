"""The client of a DriftWatch server."""
