"""The own content of an object: its valid spec, lowered to a snapshot entry without anything derived from others."""
