# The node: `deep-start --deepaas` serves the lenswatch module on port 5000.
# The tracking server runs from the same image: docker run ... lenswatch server (see compose.yaml).

FROM python:3.11-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends git ca-certificates \
    && rm -rf /var/lib/apt/lists/*
# The AI4OS start script, from its public repository.
RUN git clone --depth 1 https://github.com/ai4os/deep-start /srv/.deep-start
RUN python -m venv /opt/lenswatch
ENV PATH=/opt/lenswatch/bin:$PATH
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY api api
# On a machine without a GPU, PyTorch's CPU build saves some gigabytes:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=... (the address is on PyTorch's installation page)
ARG PIP_EXTRA_INDEX_URL=""
RUN pip install --no-cache-dir .

FROM python:3.11-slim
# deep-start looks for programs with ps and for a GPU with nvidia-smi; it asks curl for its own things.
RUN apt-get update \
    && apt-get install -y --no-install-recommends curl git procps util-linux \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 lenswatch \
    && install -d -o lenswatch -g lenswatch /srv/lenswatch /srv/lenswatch/storage
COPY --from=build /opt/lenswatch /opt/lenswatch
COPY --from=build /srv/.deep-start /srv/.deep-start
RUN ln -s /srv/.deep-start/deep-start /usr/local/bin/deep-start
COPY --chown=lenswatch config.toml /srv/lenswatch/config.toml
ENV PATH=/opt/lenswatch/bin:$PATH \
    LENSWATCH_CONFIG=/srv/lenswatch/config.toml \
    OMP_NUM_THREADS=1 \
    PYTHONUNBUFFERED=1
USER lenswatch
WORKDIR /srv/lenswatch
VOLUME /srv/lenswatch/storage
EXPOSE 5000
CMD ["deep-start", "--deepaas"]
