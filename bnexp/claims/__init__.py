"""Claims as data, judged by exact statistics. Nothing here writes, prints or trains."""
