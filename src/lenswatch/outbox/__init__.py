"""The outbox: drift jobs that the tracking server has not acknowledged yet."""
