#!/usr/bin/env python3
"""Creates the tree of a repository once, and writes the secrets that each side needs into files.

Readable only by the server:
  readcap        reads the whole tree
  ping-token     authorises pings for the whole tree
Readable only by the owner of the directory of these files:
  builder-cap    writes the directory of one builder and nothing else
  builder-token  authorises the pings of this builder
  writecap       writes the whole tree: keep it offline
"""
import json
import os
import pathlib
import secrets
import sys
import urllib.error
import urllib.parse
import urllib.request

gateway = os.environ.get("TAHOE_GATEWAY", "http://tahoe:3456")
builder_path = os.environ.get("BUILDER_PATH", "dists/unstable/main/binary-amd64/builder")
server_uid = int(os.environ.get("SERVER_UID", "65532"))
target = pathlib.Path(os.environ.get("SECRETS_DIR", "/secrets"))


def ask(method, path, query):
    request = urllib.request.Request(f"{gateway}/uri{path}?{query}", method=method, data=b"" if method == "POST" else None)
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.read().decode()
    except (urllib.error.URLError, OSError) as error:
        # The URL contains a cap, so print only the reason.
        sys.exit(f"the gateway refused: {getattr(error, 'reason', error)}")


def caps_of(cap, path=""):
    node = json.loads(ask("GET", f"/{urllib.parse.quote(cap, safe='')}{path}", "t=json"))[1]
    return node["ro_uri"], node["rw_uri"]


def keep(name, value, uid, gid):
    partial = target / f".{name}.partial"
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w") as file:
        file.write(value + "\n")
        os.fchown(descriptor, uid, gid)
    partial.rename(target / name)


# The read cap is written last: if it exists, all others do too.
if (target / "readcap").exists():
    print("the tree exists; its secrets are left as they are")
    sys.exit(0)
writecap = ask("POST", "", "t=mkdir").strip()
directory = "/" + urllib.parse.quote(builder_path)
ask("POST", f"/{urllib.parse.quote(writecap, safe='')}{directory}", "t=mkdir")
token = secrets.token_urlsafe(32)
person = target.stat().st_uid, target.stat().st_gid
keep("writecap", writecap, *person)
keep("builder-cap", caps_of(writecap, directory)[1], *person)
keep("builder-token", token, *person)
keep("ping-token", token, server_uid, server_uid)
keep("readcap", caps_of(writecap)[0], server_uid, server_uid)
print(f"made a tree with {builder_path}; its caps and tokens are in docker/secrets/")
