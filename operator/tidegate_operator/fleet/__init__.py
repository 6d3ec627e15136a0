"""What several clusters run, side by side: read from their APIs, compared without any I/O, shown."""
