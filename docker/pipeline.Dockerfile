# Pipeline, worker, and the servers of MLflow and Prefect: one image, so that all speak the same versions.
# docker build -f docker/pipeline.Dockerfile -t vizecg-pipeline .
FROM python:3.11.13-slim-bookworm AS build
WORKDIR /source
# CPU wheels of torch come from an index that PyTorch names: --build-arg PIP_EXTRA_INDEX_URL=…
ARG PIP_EXTRA_INDEX_URL=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY vizecg vizecg
COPY flows flows
COPY serving serving
RUN /venv/bin/python -m pip install --constraint constraints.txt '.[pipeline,serve,distributed,postgres,servers]'

FROM python:3.11.13-slim-bookworm
# git is how a worker gets the revision it runs; its version follows the base image.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends git \
  && rm -rf /var/lib/apt/lists/* \
  && groupadd --gid 10001 vizecg \
  && useradd --uid 10001 --gid vizecg --no-create-home --shell /usr/sbin/nologin vizecg \
  && install -d -o vizecg -g vizecg /state /state/reports /trail
COPY --from=build /venv /venv
COPY --chmod=755 docker/with-secrets /usr/local/bin/with-secrets
WORKDIR /app
COPY params.yaml prefect.yaml dvc.yaml ./
COPY flows flows
COPY vizecg vizecg
COPY serving serving
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp \
  DVC_NO_ANALYTICS=1 DO_NOT_TRACK=true MLFLOW_DISABLE_TELEMETRY=true PREFECT_SERVER_ANALYTICS_ENABLED=false \
  VIZECG_STATE_DIR=/state PREFECT_HOME=/state/prefect NUMBA_CACHE_DIR=/state/numba
USER 10001:10001
VOLUME /state
HEALTHCHECK --interval=60s --timeout=30s --start-period=60s CMD ["vizecg", "--version"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["with-secrets"]
CMD ["vizecg", "worker"]
