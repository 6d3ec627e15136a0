"""The Kubernetes API of Tidegate: group `tidegate.dev`, its kinds as models, and their CRDs."""
