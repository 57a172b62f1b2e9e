# Sandpiper's worker and command. Build: docker build -t sandpiper .
FROM debian:trixie-slim AS build
WORKDIR /src
COPY scripts/setup scripts/setup
RUN scripts/setup build
COPY . .
RUN scripts/build release sandpiper && cmake --install build/release --strip

FROM debian:trixie-slim
COPY scripts/setup /usr/local/share/sandpiper/setup
RUN /usr/local/share/sandpiper/setup runtime && rm -rf /var/lib/apt/lists/* /usr/local/share/sandpiper \
    && groupadd --system --gid 10001 sandpiper \
    && useradd --system --uid 10001 --gid sandpiper --no-create-home --shell /usr/sbin/nologin sandpiper
COPY --from=build /usr/local/bin/sandpiper /usr/local/bin/sandpiper
COPY conf/ /etc/sandpiper/
COPY examples/ /usr/local/share/sandpiper/examples/
# A number, so that an orchestrator can see that it is not root.
USER 10001:10001
# The image's own default is all addresses, so that an orchestrator can reach health and metrics.
ENV SANDPIPER_HTTP_LISTEN=0.0.0.0:9464
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/${SANDPIPER_HTTP_LISTEN##*:} && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '^HTTP/1.. 200' <&3"]
ENTRYPOINT ["sandpiper"]
CMD ["worker"]
