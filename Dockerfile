# Three images. The node (default): `deep-start --deepaas` serves the lenswatch module on port 5000.
# The tracking server, without PyTorch and DEEPaaS:  docker build --target server .   (see compose.yaml)
# The processes of a Dask cluster, and the backfill:  docker build --target cluster .   (see examples/kubernetes)

FROM python:3.11-slim AS source
RUN python -m venv /opt/lenswatch
ENV PATH=/opt/lenswatch/bin:$PATH
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
COPY api api

FROM source AS installed-server
RUN pip install --no-cache-dir -c constraints.txt '.[server]'

FROM source AS installed-node
# On a machine without a GPU, PyTorch's CPU build saves some gigabytes:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=... (the address is on PyTorch's installation page)
ARG PIP_EXTRA_INDEX_URL=""
RUN pip install --no-cache-dir -c constraints.txt '.[node,mlflow]'
RUN cp constraints.txt /opt/lenswatch/constraints.txt

# What a node without a reference of its own shows, so that it can be tried. It takes some minutes.
FROM installed-node AS demo
WORKDIR /demo
RUN lenswatch demo storage/images \
    && lenswatch train \
    && lenswatch reference export "$(cat storage/reference/current)" /demo/demo.reference

# The AI4OS start script, from its public repository.
FROM python:3.11-slim AS deep-start
RUN apt-get update \
    && apt-get install -y --no-install-recommends git ca-certificates \
    && rm -rf /var/lib/apt/lists/*
RUN git clone --depth 1 https://github.com/ai4os/deep-start /srv/.deep-start

FROM python:3.11-slim AS machine
RUN apt-get update \
    && apt-get install -y --no-install-recommends curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 lenswatch \
    && install -d -o lenswatch -g lenswatch /srv/lenswatch /srv/lenswatch/storage
COPY --chown=lenswatch config.toml /srv/lenswatch/config.toml
ENV PATH=/opt/lenswatch/bin:$PATH \
    LENSWATCH_CONFIG=/srv/lenswatch/config.toml \
    PYTHONUNBUFFERED=1
WORKDIR /srv/lenswatch
VOLUME /srv/lenswatch/storage

FROM installed-node AS installed-cluster
RUN pip install --no-cache-dir -c constraints.txt '.[dask]' 'webdav4[fsspec]'

FROM machine AS cluster
COPY --from=installed-cluster /opt/lenswatch /opt/lenswatch
USER lenswatch
EXPOSE 8786 8787
CMD ["dask", "scheduler"]

FROM machine AS server
COPY --from=installed-server /opt/lenswatch /opt/lenswatch
USER lenswatch
EXPOSE 5001
HEALTHCHECK --start-period=60s --timeout=10s \
    CMD ["curl", "--fail-with-body", "--silent", "http://127.0.0.1:5001/readyz"]
CMD ["lenswatch", "server"]

FROM machine AS node
# Programs that deep-start calls.
RUN apt-get update \
    && apt-get install -y --no-install-recommends git procps util-linux \
    && rm -rf /var/lib/apt/lists/*
# `deep-start --jupyter` installs JupyterLab here, as the user of the image, and nothing that is there changes.
COPY --from=installed-node --chown=lenswatch /opt/lenswatch /opt/lenswatch
COPY --from=demo /demo/demo.reference /opt/lenswatch/demo.reference
# JupyterLab writes into this folder: its settings are there.
COPY --from=deep-start --chown=lenswatch /srv/.deep-start /srv/.deep-start
RUN ln -s /srv/.deep-start/deep-start /usr/local/bin/deep-start
COPY docker/deep-start.bash /srv/.deep-start.bash
ENV OMP_NUM_THREADS=1 \
    LENSWATCH_STORAGE_DEMO_REFERENCE=/opt/lenswatch/demo.reference \
    PIP_CONSTRAINT=/opt/lenswatch/constraints.txt \
    BASH_ENV=/srv/.deep-start.bash
USER lenswatch
EXPOSE 5000
HEALTHCHECK --start-period=90s --timeout=10s \
    CMD ["curl", "--fail-with-body", "--silent", "http://127.0.0.1:5000/healthz"]
CMD ["deep-start", "--deepaas"]
