"""Questions about a folder of manifests, answered by the engine that data planes run. No cluster, no network."""
