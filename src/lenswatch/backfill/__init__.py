"""Archives of pictures: judged once, in parallel on a Dask cluster, with the answers of the live path."""
