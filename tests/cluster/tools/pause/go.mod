// The process that holds a pod's namespaces open on the genuine node of the tests.
module tidegate.dev/tests/cluster/tools/pause

go 1.26.0
