# Chores of the Helm chart, with the real Helm and a real API server.

.PHONY: helm-tools
helm-tools: $(STAMP) ## build Helm (needs Go; two minutes, once)
	@PYTHONPATH=tests $(BIN)/python -m cluster.build_tools helm

.PHONY: test-chart
test-chart: cluster-tools helm-tools ## lint, render, install, upgrade, roll back and remove the chart with the real Helm
	@$(BIN)/python -m pytest tests/e2e/chart
