"""Judges changes before they are stored, by what they would do to everything else. Serves a validating webhook.

It only ever speaks of what was stored anyway if it were not asked: it may be down, late or wrong, and the compiler has
the last word.
"""
