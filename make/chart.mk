# Chores of the Helm chart, with the real Helm and a real API server.

.PHONY: helm-tools
helm-tools: $(STAMP) ## build Helm (needs Go; two minutes, once)
	@PYTHONPATH=tests $(BIN)/python -m cluster.build_tools helm

.PHONY: test-chart
test-chart: cluster-tools redis-tools ## install, upgrade, roll back and remove the chart with the real Helm on a real API server
	@$(BIN)/python -m pytest tests/cluster/chart tests/e2e/chart
