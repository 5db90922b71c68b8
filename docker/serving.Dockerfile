# The service alone: the core and the `serve` extra, no training stack.
# docker build -f docker/serving.Dockerfile -t vizecg-serving .
FROM python:3.11.13-slim-bookworm AS build
WORKDIR /source
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY vizecg vizecg
COPY flows flows
COPY serving serving
RUN /venv/bin/python -m pip install --constraint constraints.txt '.[serve]'

FROM python:3.11.13-slim-bookworm
RUN groupadd --gid 10001 vizecg \
  && useradd --uid 10001 --gid vizecg --no-create-home --shell /usr/sbin/nologin vizecg \
  && install -d -o vizecg -g vizecg /state /trail
COPY --from=build /venv /venv
COPY --chmod=755 docker/with-secrets /usr/local/bin/with-secrets
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/tmp \
  MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true \
  VIZECG_STATE_DIR=/state VIZECG_HOST=0.0.0.0 VIZECG_PORT=8000
USER 10001:10001
WORKDIR /state
VOLUME /state
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["with-secrets"]
CMD ["vizecg", "serve"]
