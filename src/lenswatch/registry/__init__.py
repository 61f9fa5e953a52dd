"""References in MLflow: logged runs, registered models, and the way back to a storage folder."""
