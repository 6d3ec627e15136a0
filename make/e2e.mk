# The real thing on one machine: images without an engine, and a cluster with a genuine node (Linux, root).

.PHONY: node-tools
node-tools: cluster-tools ## build kubelet, containerd and the rest of a cluster (needs Go; five minutes, once)
	@PYTHONPATH=tests $(BIN)/python -m cluster.build_tools node

.PHONY: images
images: $(STAMP) ## build both images without an engine and print what is in them (Debian, root, buildah)
	@$(BIN)/python deploy/images/build.py

.PHONY: e2e
e2e: $(STAMP) ## install the chart on a genuine node of this machine and hurt it there (Linux, root; E2E_ARGS for pytest)
	@PYTHONPATH=tests $(BIN)/python -m e2e.node $(E2E_ARGS)
