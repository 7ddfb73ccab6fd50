# A Buildbot worker: the buildbot.tac in its directory. Its password comes from a file, not from an argument.
from pathlib import Path

from buildbot_worker.bot import Worker
from twisted.application import service

MASTER_HOST = "127.0.0.1"
MASTER_PORT = 9989

basedir = Path(__file__).resolve().parent
# buildbot-worker searches for exactly this line, including its quotes.
application = service.Application('buildbot-worker')
Worker(
    MASTER_HOST,
    MASTER_PORT,
    "alice",
    (basedir / "worker-password").read_text().strip(),
    str(basedir),
    keepalive=600,
    umask=0o022,
    maxdelay=10,
).setServiceParent(application)
