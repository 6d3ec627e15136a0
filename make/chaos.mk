# What the cluster tests do in small, in the numbers that were promised: 3,000 objects, 50 kills.

.PHONY: chaos
chaos: cluster-tools test-worlds ## last good forms among 3,000 objects, fifty kills of the operator, 5,000 worlds (about twenty minutes)
	@TIDEGATE_TEST_OBJECTS=3000 TIDEGATE_KILLS=50 $(BIN)/python -m pytest -s \
		tests/cluster/test_last_good.py tests/cluster/test_kills.py tests/cluster/operator/test_killed_mid_publish.py

.PHONY: test-worlds
test-worlds: $(STAMP) ## explain agrees with enforcement, policies only tighten: 5,000 random worlds each (about five minutes)
	@TIDEGATE_WORLDS=5000 $(BIN)/python -m pytest -s tests/property/test_explaining.py tests/property/test_tightening.py
