# Chores of the shared ledger, with a real Redis and a real fault proxy.

.PHONY: redis-tools
redis-tools: $(STAMP) ## build Toxiproxy (needs Go; once), and find or fetch a redis-server
	@PYTHONPATH=tests $(BIN)/python -m cluster.build_tools toxiproxy
	@PYTHONPATH=tests $(BIN)/python -m redis_parts.redis_binary
