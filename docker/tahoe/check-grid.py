#!/usr/bin/env python3
"""Is the grid up? Exit status 0 when the gateway answers and is connected to a storage server."""
import json
import os
import sys
import urllib.request

gateway = os.environ.get("TAHOE_GATEWAY", "http://127.0.0.1:3456")
try:
    with urllib.request.urlopen(f"{gateway}/?t=json", timeout=4) as reply:
        servers = json.load(reply)["servers"]
except OSError as error:
    sys.exit(f"no answer from the gateway: {error}")
if not any(server["connection_status"].lower().startswith("connected") for server in servers):
    sys.exit("the gateway has no storage server yet")
