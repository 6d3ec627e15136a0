"""What a change of manifests does, per cluster: not the text but the effect. Pure; the command is cli/diff.py."""
