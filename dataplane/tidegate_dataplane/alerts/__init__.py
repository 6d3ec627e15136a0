"""Soft thresholds of quotas: each is told once a window, over all data planes."""
