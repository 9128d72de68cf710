#!/bin/sh
# `exec`, so that the signal that stops this function reaches the server itself.
command -v python3 >/dev/null && exec python3 server.py
exec node server.mjs
