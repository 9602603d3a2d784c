"""Datasets: where they are found, what is in them, how they are cut. Nothing here needs torch but `batches`."""
