# What streams are charged, beside what they used.

.PHONY: bench-counting
bench-counting: $(STAMP) ## tokens charged beside tokens used, by source, and what counting costs
	@$(BENCH).counting $(BENCH_ARGS)
