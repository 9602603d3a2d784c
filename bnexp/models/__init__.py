"""Networks whose every tensor has a leading trial axis."""
