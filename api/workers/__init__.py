"""The worker processes of the model, whose deaths are noticed: DEEPaaS' own pool waits for them for ever."""
