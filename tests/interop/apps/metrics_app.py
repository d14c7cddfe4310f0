"""What Prometheus' own client offers to be looked at, by ASGI and by WSGI."""

from prometheus_client import CollectorRegistry, Counter, make_asgi_app, make_wsgi_app

registry = CollectorRegistry()
looks = Counter("looks", "How often somebody looked", registry=registry)
looks.inc(3)
app = make_asgi_app(registry)
wsgi = make_wsgi_app(registry)
