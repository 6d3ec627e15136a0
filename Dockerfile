# Both images, for people with an engine:
#
#   docker build --target dataplane -t registry.example.com/tidegate-dataplane:0.1.0 .
#   docker build --target operator  -t registry.example.com/tidegate-operator:0.1.0 .
#
# Without an engine, `make images` makes the same files by the same script (deploy/images/rootfs.py). The final stages
# hold Debian's Python, the distributions of requirements/*.lock (checked by hash) and Tidegate; no shell, no compiler,
# no package manager. They run as 65532 on a read-only root file system, and write nowhere but where a volume is mounted.
ARG BUILDER=docker.io/library/debian:bookworm-slim

FROM ${BUILDER} AS builder
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils ca-certificates mmdebstrap python3-pip \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY deploy/images/rootfs.py deploy/images/rootfs.py
COPY requirements requirements

FROM builder AS dataplane-base
RUN python3 deploy/images/rootfs.py dataplane base /out

FROM builder AS operator-base
RUN python3 deploy/images/rootfs.py operator base /out

FROM builder AS sources
COPY pyproject.toml README.md LICENSE ./
COPY crds crds
COPY operator operator
COPY dataplane dataplane

FROM sources AS dataplane-own
RUN python3 deploy/images/rootfs.py dataplane tidegate /out

FROM sources AS operator-own
RUN python3 deploy/images/rootfs.py operator tidegate /out

FROM scratch AS operator
COPY --from=operator-base /out /
COPY --from=operator-own /out /
ENV PATH=/usr/local/bin:/usr/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /
STOPSIGNAL SIGTERM
LABEL org.opencontainers.image.title=tidegate-operator org.opencontainers.image.licenses=Apache-2.0
ENTRYPOINT ["/usr/local/bin/tidegate"]
CMD ["operator"]

# The last stage is what `docker build .` makes.
FROM scratch AS dataplane
COPY --from=dataplane-base /out /
COPY --from=dataplane-own /out /
ENV PATH=/usr/local/bin:/usr/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /
STOPSIGNAL SIGTERM
EXPOSE 8080 9090
LABEL org.opencontainers.image.title=tidegate-dataplane org.opencontainers.image.licenses=Apache-2.0
ENTRYPOINT ["/usr/local/bin/tidegate-dataplane"]
