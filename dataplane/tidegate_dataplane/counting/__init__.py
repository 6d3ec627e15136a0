"""Counting tokens here, for when a provider does not say: real tokenizers where they exist, else a stated estimate.

Nothing is loaded until the first call needs it, and nothing large is counted on the event loop.
"""
