# Chores of the shared ledger, with a real Redis and a real fault proxy.

.PHONY: redis-tools
redis-tools: $(STAMP) ## build Toxiproxy (needs Go; once), and find or fetch a redis-server
	@PYTHONPATH=tests $(BIN)/python -m cluster.build_tools toxiproxy
	@PYTHONPATH=tests $(BIN)/python -m redis_parts.redis_binary

.PHONY: chaos-ledger
chaos-ledger: redis-tools ## the shared ledger under faults, 20 runs each of Exact and Leased (about twenty minutes)
	@PYTHONPATH=tests $(BIN)/python -m ledger_chaos $(CHAOS_ARGS)
