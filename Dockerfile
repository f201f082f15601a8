# syntax=docker/dockerfile:1
# The gateway and the Codex it was tested with, as an ordinary user, in one image.

ARG RUST_VERSION=1.95.0
ARG CODEX_VERSION=0.171.0

FROM rust:${RUST_VERSION}-slim-bookworm AS build
RUN rustup target add wasm32-wasip2
WORKDIR /src
COPY . .
# The caches are mounts, so the program is copied out of the target folder in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package codex-gateway \
    && cp target/release/codex-gateway /codex-gateway

FROM node:22-bookworm-slim AS codex
ARG CODEX_VERSION
RUN npm install --no-audit --no-fund --prefix /codex "@openai/codex@${CODEX_VERSION}" \
    # The native program, wherever the platform's package put it: the gateway starts it directly.
    && binary="$(find /codex/node_modules -type f -path '*/vendor/*/bin/codex' -print -quit)" \
    && test -n "$binary" \
    && cp -r "$(dirname "$(dirname "$binary")")" /codex/native \
    && /codex/native/bin/codex app-server --help > /dev/null

FROM debian:bookworm-slim
# Versions of a Debian release only change to mend something.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid 10001 --create-home --home-dir /home/gateway gateway \
    # Codex's login, the limits that are remembered, recorded usage; the policies that override the built-in ones.
    && install -d -o gateway -g gateway -m 0700 /home/gateway/.codex /state /usage \
    && install -d -o root -g root -m 0755 /policies
COPY --from=codex /codex/native /opt/codex
COPY --from=build /codex-gateway /usr/local/bin/codex-gateway
ENV PROXY_HOST=0.0.0.0 \
    PORT=11435 \
    PROXY_ENV=prod \
    PROXY_LOG_FORMAT=json \
    CODEX_BIN=/opt/codex/bin/codex \
    CODEX_HOME=/home/gateway/.codex \
    POLICY_DIR=/policies \
    PROXY_STATE_DIR=/state
# By number, so that an orchestrator can tell that it is not root.
USER 10001:10001
WORKDIR /home/gateway
VOLUME ["/home/gateway/.codex", "/policies", "/state", "/usage"]
EXPOSE 11435
# Alive, not ready: a proxy that takes the route from a container which is not healthy, as Traefik does with labels on the
# gateway itself, would answer 404 instead of the gateway's 503, which says what is wrong and when to come back.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --start-interval=1s --retries=3 \
    CMD ["sh", "-c", "curl --fail --silent --output /dev/null http://127.0.0.1:$PORT/livez"]
# SIGTERM: intake closes, streams finish, exit 0. Give `docker stop` more than PROXY_SHUTDOWN_GRACE_MS.
STOPSIGNAL SIGTERM
ENTRYPOINT ["codex-gateway"]
