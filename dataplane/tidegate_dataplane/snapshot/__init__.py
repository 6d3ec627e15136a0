"""The contract between the operator and the data planes. It knows no Kubernetes."""
