# Chores of the operator that take longer than the normal suite may.

.PHONY: test-kill
test-kill: cluster-tools ## kill -9 the operator fifty times while it publishes (minutes)
	@TIDEGATE_KILLS=50 $(BIN)/python -m pytest tests/cluster/operator/test_killed_mid_publish.py
