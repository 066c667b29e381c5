# Perennial on CPUs. docs/deploy.md describes how to build, run and update it.
FROM python:3.12-slim AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
RUN pip install --no-cache-dir uv==0.13.9 && uv venv /opt/perennial
WORKDIR /src
# The dependencies alone first, pinned with hashes: this layer stays when the code changes.
COPY pyproject.toml requirements.txt ./
RUN uv pip install --no-cache --python /opt/perennial --constraints requirements.txt \
    --requirements pyproject.toml
COPY . .
RUN uv pip install --no-cache --python /opt/perennial --no-deps .

FROM python:3.12-slim
RUN useradd --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin perennial \
    && install --directory --owner perennial --group perennial /data
COPY --from=build /opt/perennial /opt/perennial
ENV PATH=/opt/perennial/bin:$PATH PYTHONUNBUFFERED=1 XDG_CACHE_HOME=/data/.cache
# A number, so that Kubernetes can verify that it is not root.
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8080
# `watch` has no handler for SIGTERM, which the first process of a container would then ignore.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=4); c.request('GET', '/health'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["perennial"]
CMD ["serve", "--store", "/data/live.duckdb", "--host", "0.0.0.0"]
