# Chores with a real Kubernetes API server. Go builds it once; the binaries lie outside the checkout.

.PHONY: cluster-tools
cluster-tools: $(STAMP) ## build kube-apiserver, etcd, kubectl and Helm (needs Go; minutes, once)
	@PYTHONPATH=tests $(BIN)/python -m cluster.build_tools
	@PYTHONPATH=tests $(BIN)/python -m cluster.build_tools helm

.PHONY: oidc-tools
oidc-tools: $(STAMP) ## build Dex, an OpenID provider, for the token tests (needs Go and a C compiler; once)
	@PYTHONPATH=tests $(BIN)/python -m cluster.build_tools dex

.PHONY: test-cluster
test-cluster: cluster-tools ## run the tests against the real API server
	@$(BIN)/python -m pytest tests/cluster

.PHONY: demo-cluster
demo-cluster: cluster-tools ## run operator and data planes against a real API server until Ctrl-C
	@PYTHONPATH=tests $(BIN)/python -m cluster.demo $(DEMO_ARGS)
