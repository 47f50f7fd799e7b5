# The extension host as a static program and nothing else: no shell, no C
# library, no root. docs/OPERATING.md says how to run it; docker-compose.yml shows
# it beside a server.

ARG GO_VERSION=1.26
FROM golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN scripts/rootfs /image

FROM scratch
COPY --from=build /image/system/ /
COPY --from=build --chown=65532:65532 /image/data/ /var/lib/
USER 65532:65532
# A directory below the volume, since that itself may belong to root.
ENV PGEXTHOST_DATA=/var/lib/pgexthost/data
VOLUME /var/lib/pgexthost
# Fast shutdown. Without it, docker stop sends SIGTERM, which waits for clients of
# the gateway.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/local/bin/pgexthost", "status"]
ENTRYPOINT ["/usr/local/bin/pgexthost"]
CMD ["run", "--init"]
