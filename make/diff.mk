# What a change of manifests does: the comparison held to brute force, and its time.
.PHONY: test-diff
test-diff: $(STAMP) ## tidegate diff against brute force on 200 random changes
	@TIDEGATE_DIFF_CHANGES=200 $(BIN)/python -m pytest tests/property/test_diff.py

.PHONY: bench-diff
bench-diff: $(STAMP) ## tidegate diff on 3,000 routes and 20,000 consumers
	@$(BENCH).diff $(BENCH_ARGS)
