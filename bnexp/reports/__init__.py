"""Reports render findings; they compute none."""
