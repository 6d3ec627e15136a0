# Faults of the control plane, each on a real API server: what a caller sees, and what heals by itself.

.PHONY: test-faults
test-faults: cluster-tools ## leaders killed, watches stalled, etcd wiped, clocks moved, versions mixed (about fifteen minutes)
	@$(BIN)/python -m pytest tests/e2e/faults -s $(FAULTS_ARGS)
