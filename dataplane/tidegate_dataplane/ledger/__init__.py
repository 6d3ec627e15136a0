"""Counting: rate limits and quotas, reserved before a call and settled after it."""
