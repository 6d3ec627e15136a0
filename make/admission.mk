# Admission: the policies in the API server and the operator's webhook, on real API servers.

.PHONY: test-admission
test-admission: cluster-tools node-tools ## admission policies and webhook on real API servers (five minutes)
	@$(BIN)/python -m pytest tests/e2e/admission

.PHONY: bench-admission
bench-admission: $(STAMP) ## a judgement of the webhook at 3,000 routes and 20,000 consumers
	@$(BENCH).admission $(BENCH_ARGS)
