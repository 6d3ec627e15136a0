# Manifests as users misuse them, before `tidegate validate`, a real API server, and a real operator.

.PHONY: test-misuse
test-misuse: cluster-tools ## 285 misused manifests: the same verdict from all three, no crash (one minute)
	@$(BIN)/python -m pytest -s tests/e2e/misuse
