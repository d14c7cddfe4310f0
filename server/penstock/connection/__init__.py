"""A codec on a socket: channels, HTTP connections and their exchanges, driven by readiness."""
