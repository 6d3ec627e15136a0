# Delivery by the real Argo CD, and what Flux makes of our statuses.

.PHONY: argocd-tools
argocd-tools: $(STAMP) ## build Argo CD and kstatus (needs Go; minutes, once)
	@PYTHONPATH=tests $(BIN)/python -m cluster.build_tools argocd

.PHONY: test-argocd
test-argocd: cluster-tools argocd-tools helm-tools redis-tools ## Argo CD, one Git repository and three API servers (ARGOCD_ARGS=--quiet-minutes=5)
	@$(BIN)/python -m pytest tests/e2e/argocd -s $(ARGOCD_ARGS)
