"""The tracking server: drift jobs in experiments, over the DriftWatch REST contract."""
