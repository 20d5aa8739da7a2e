"""The least that a Flask app can do, on the product's own settings of gunicorn: `python -m tests.bench.hello`."""

from flask import Flask

from cloudpriv.config import load
from cloudpriv.serving import _Gunicorn  # whatever the settings of gunicorn become, both sides have them


class Hello(_Gunicorn):
    """Serves one empty route."""

    def load(self) -> Flask:
        """The app."""
        app = Flask("hello", static_folder=None)
        app.add_url_rule("/", view_func=lambda: "")
        return app


if __name__ == "__main__":
    Hello(load("api")).run()
