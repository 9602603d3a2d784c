"""The engine: one training path, for one trial as for many. It yields records and knows no database."""
