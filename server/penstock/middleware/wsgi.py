"""`penstock.middleware.wsgi`: a WSGI application as a part of an ASGI one, such as a mount of Starlette's.

Where programs written for uvicorn look for it.
"""

from ..asgi.wsgi import WSGIMiddleware as WSGIMiddleware
