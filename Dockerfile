# syntax=docker/dockerfile:1
# The gateway and the Codex it was tested with, as an ordinary user, in one image.

ARG RUST_VERSION=1.95.0
ARG CODEX_VERSION=0.169.0

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
    && binary="$(find /codex/node_modules -type f -path '*/vendor/*/bin/codex' | head -n 1)" \
    && test -n "$binary" \
    && cp -r "$(dirname "$(dirname "$binary")")" /codex/native \
    && /codex/native/bin/codex app-server --help > /dev/null

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --home-dir /home/gateway gateway \
    # Codex keeps its login here; the policies that override the built-in ones go there.
    && install -d -o gateway -g gateway -m 0700 /home/gateway/.codex \
    && install -d -o root -g root -m 0755 /policies
COPY --from=codex /codex/native /opt/codex
COPY --from=build /codex-gateway /usr/local/bin/codex-gateway
ENV PROXY_HOST=0.0.0.0 \
    PORT=11435 \
    PROXY_ENV=prod \
    PROXY_LOG_FORMAT=json \
    CODEX_BIN=/opt/codex/bin/codex \
    CODEX_HOME=/home/gateway/.codex \
    POLICY_DIR=/policies
USER gateway
WORKDIR /home/gateway
VOLUME ["/home/gateway/.codex", "/policies"]
EXPOSE 11435
# Ready means: a Codex child answers. The start takes about a second.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD curl --fail --silent --output /dev/null "http://127.0.0.1:${PORT}/readyz" || exit 1
# SIGTERM: intake closes, streams finish, exit 0. Give `docker stop` more than PROXY_SHUTDOWN_GRACE_MS.
STOPSIGNAL SIGTERM
ENTRYPOINT ["codex-gateway"]
