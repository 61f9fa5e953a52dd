"""Drift jobs: stored, searched, shown live."""
