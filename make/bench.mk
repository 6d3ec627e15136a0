# Benchmarks on this machine: figures to compare with each other, not with those of other machines.
# Tables go to the terminal, JSON to bench-results/. BENCH_ARGS is passed on, for example BENCH_ARGS="--rounds 2".
BENCH := PYTHONPATH=tests $(BIN)/python -m bench

.PHONY: bench
bench: bench-throughput bench-size bench-propagation bench-reload bench-operator ## run all benchmarks (about nine minutes)

.PHONY: bench-throughput
bench-throughput: $(STAMP) ## one core, full policy, beside nginx (needs wrk and nginx)
	@$(BENCH).throughput $(BENCH_ARGS)

.PHONY: bench-size
bench-size: $(STAMP) ## 5,000 routes and 20,000 consumers in one data plane
	@$(BENCH).size $(BENCH_ARGS)

.PHONY: bench-tls
bench-tls: $(STAMP) ## requests and new connections: plain, TLS, client certificates (needs wrk and openssl)
	@$(BENCH).tls $(BENCH_ARGS)

.PHONY: bench-tokens
bench-tokens: $(STAMP) ## signed tokens and three CEL rules beside an API key (needs wrk and nginx)
	@$(BENCH).tokens $(BENCH_ARGS)

.PHONY: bench-verification
bench-verification: $(STAMP) ## microseconds to verify a token, by algorithm, and to find a known one
	@$(BENCH).verification $(BENCH_ARGS)

.PHONY: bench-propagation
bench-propagation: cluster-tools ## apply to enforced, at 1 and 3,000 routes, on a real API server
	@$(BENCH).propagation $(BENCH_ARGS)

.PHONY: bench-revocation
bench-revocation: cluster-tools ## apply to refused, at 3,000 routes and 20,000 consumers, on a real API server
	@$(BENCH).revocation $(BENCH_ARGS)

.PHONY: bench-reload
bench-reload: $(STAMP) ## latency and errors while reloading every second
	@$(BENCH).reload_under_load $(BENCH_ARGS)

.PHONY: bench-lists
bench-lists: $(STAMP) ## a deny list and leaked keys of 100,000 entries: request, reload, memory (needs wrk and nginx)
	@$(BENCH).deny_list $(BENCH_ARGS)

.PHONY: bench-ledger
bench-ledger: redis-tools ## quotas counted in memory, in slices and in the store, one core (needs wrk and nginx)
	@$(BENCH).ledger $(BENCH_ARGS)

.PHONY: bench-store-gone
bench-store-gone: redis-tools ## what requests wait for when the store goes away, in each failure mode (needs nginx)
	@$(BENCH).store_gone $(BENCH_ARGS)

.PHONY: bench-ledger-memory
bench-ledger-memory: redis-tools ## 100,000 consumers with three quotas each: Redis, data plane, p99 (needs wrk and nginx)
	@$(BENCH).ledger_memory $(BENCH_ARGS)

.PHONY: bench-store-cost
bench-store-cost: redis-tools ## what a batch costs Redis and a data plane, and bytes of Redis for a counter
	@$(BENCH).store_cost $(BENCH_ARGS)

.PHONY: bench-alerts
bench-alerts: redis-tools ## a soft threshold over six data planes: told once, and how soon (needs nginx)
	@$(BENCH).alerts $(BENCH_ARGS)

.PHONY: bench-window-edge
bench-window-edge: redis-tools ## 10,000 requests over the edges of windows, through three data planes (needs nginx)
	@$(BENCH).window_edge $(BENCH_ARGS)

.PHONY: bench-fairness
bench-fairness: $(STAMP) ## one consumer at 50 times the rate of ten others, beyond the capacity (needs wrk)
	@$(BENCH).fairness $(BENCH_ARGS)

.PHONY: bench-prices
bench-prices: $(STAMP) ## price tables in the snapshot, a lookup and a charge for each call, adding up a log
	@$(BENCH).prices $(BENCH_ARGS)

.PHONY: bench-operator
bench-operator: cluster-tools ## operator start to first publish at 5,000 and 10,000 objects
	@$(BENCH).operator_start $(BENCH_ARGS)

.PHONY: bench-peers
bench-peers: $(STAMP) ## beside LiteLLM and Portkey, installed outside the checkout (needs node and npm)
	@$(BENCH).peers.throughput $(BENCH_ARGS)

.PHONY: bench-cells
bench-cells: $(STAMP) ## microseconds and bytes of one counter of each sort (BENCH_ARGS="--against HEAD~5": beside another revision)
	@$(BENCH).cells $(BENCH_ARGS)
