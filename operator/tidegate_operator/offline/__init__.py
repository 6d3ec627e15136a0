"""Judges manifests as an API server with Tidegate's CRDs would, without one. Pure."""
