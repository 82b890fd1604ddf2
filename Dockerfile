# The service with its models; torch stays outside. CPU by default; for CUDA: --build-arg EXTRA=gpu (see docker-compose.gpu.yml).

# What the service needs, in a virtual environment. Only pyproject.toml decides this layer, so that a changed source or
# model does not install anything again: the project itself is put in as an empty shell and taken out. What no server
# loads is removed: tests, typing stubs, onnxruntime's C library (its Python module has its own copy) and model tools.
FROM python:3.11-slim AS dependencies
ARG EXTRA=cpu
WORKDIR /src
COPY pyproject.toml ./
RUN --mount=type=cache,target=/root/.cache/pip \
    touch README.md LICENSE \
 && python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-compile ".[${EXTRA}]" \
 && pip --python /opt/venv/bin/python uninstall --yes sca-features \
 && find /opt/venv -type d \( -name tests -o -name test \) -prune -exec rm -rf {} + \
 && find /opt/venv \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name 'libonnxruntime.so*' \) -delete \
 && rm -rf /opt/venv/lib/python*/site-packages/onnxruntime/transformers /opt/venv/lib/python*/site-packages/onnxruntime/quantization

# The project as pip installs it: `service` and its metadata, nothing else.
FROM dependencies AS project
COPY pyproject.toml README.md LICENSE ./
COPY service service
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-compile --no-deps --target /app .

FROM python:3.11-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sca-features" \
      org.opencontainers.image.description="Image features without labels, served over HTTP" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    SCA_HOST=0.0.0.0 \
    SCA_PORT=8000 \
    SCA_MODELS_DIR=/app/models
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=project /app /app
# One import here writes the bytecode of just what the service uses, the standard library's included; without it every
# start compiles all of that again, since the file system is read-only by then.
RUN python -c "import service.app, service.server"
ENV PYTHONDONTWRITEBYTECODE=1
COPY models /app/models
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['SCA_PORT']), timeout=4); c.request('GET', '/health/ready'); sys.exit(c.getresponse().status != 200)"]
CMD ["python", "-m", "service"]
