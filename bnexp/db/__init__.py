"""The results database. `Store` is the only owner of sessions."""
