# After the merge: kept revisions, rollback, freeze, staged roll-out.

.PHONY: test-rollout
test-rollout: cluster-tools ## rollback, freeze and staged roll-out on a real API server (about three minutes)
	@$(BIN)/python -m pytest tests/e2e/rollout -s
