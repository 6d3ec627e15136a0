# Several clusters side by side, each with a real API server, an operator and data planes.

.PHONY: test-fleet
test-fleet: cluster-tools ## `tidegate fleet` over three real clusters (about five minutes)
	@$(BIN)/python -m pytest tests/e2e/fleet $(FLEET_ARGS)
