"""Databases as a whole: checked, joined, and made to forget."""
