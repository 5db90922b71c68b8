"""The service: answers over HTTP with the champion and follows its promotions."""


def main(*, host: str | None = None, port: int | None = None, workers: int | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C; what is not given comes from the environment (`VIZECG_…`).

    Raises:
        InputError: the port that was asked for is taken, the address cannot be
            listened on, a setting is not allowed, or VIZECG_BUNDLE cannot be served.
    """
    from serving.settings import read_settings

    settings = read_settings(host=host, port=port, workers=workers)
    if settings.workers > 1:
        from serving.workers import serve_together  # without what answers: the supervisor stays small

        serve_together(settings)
    else:
        from serving.server import serve

        serve(settings)
