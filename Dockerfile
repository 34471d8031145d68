# The server image: `obsvty serve`, every command, git. No JupyterLab, no browser, no compiler.
# No BuildKit-only syntax, so that the classic builder builds it too.
ARG PYTHON_VERSION=3.12
FROM python:${PYTHON_VERSION}-slim AS build

WORKDIR /src
RUN pip install --no-cache-dir "uv>=0.8"
# the locked dependencies first: they change less often than the code
COPY pyproject.toml uv.lock ./
RUN uv export --frozen --no-default-groups --no-emit-project --no-header --quiet --output-file requirements.txt
RUN python -m venv /opt/obsvty \
 && /opt/obsvty/bin/pip install --no-cache-dir --only-binary :all: --require-hashes --requirement requirements.txt
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir dist . \
 && /opt/obsvty/bin/pip install --no-cache-dir --no-deps dist/*.whl \
 && /opt/obsvty/bin/pip uninstall --yes --quiet pip

FROM python:${PYTHON_VERSION}-slim

# suspects come from a repository, read by the git command; a mounted clone belongs to another user
RUN apt-get update \
 && apt-get install --yes --no-install-recommends git \
 && rm -rf /var/lib/apt/lists/* \
 && git config --system --add safe.directory "*" \
 && groupadd --gid 10001 obsvty \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin obsvty \
 && install --directory --owner 10001 --group 10001 --mode 0750 /data \
 && install --directory /etc/obsvty
COPY --from=build /opt/obsvty /opt/obsvty

# inside the container all interfaces; what is published, and where, says the one who runs it
ENV PATH=/opt/obsvty/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    OBSVTY_DATA_DIR=/data \
    OBSVTY_RECEIVER__GRPC=0.0.0.0:4317 \
    OBSVTY_RECEIVER__HTTP=0.0.0.0:4318 \
    OBSVTY_MCP__HTTP=0.0.0.0:4319
# where an obsvty.toml may be mounted
WORKDIR /etc/obsvty
USER 10001:10001
VOLUME /data
EXPOSE 4317 4318 4319
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:4319/readyz', timeout=4)"]
CMD ["obsvty", "serve"]
