"""Any folder of class folders as a dataset: its pictures are decoded once, and then mapped from one file."""
