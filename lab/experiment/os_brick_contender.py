"""os-brick in a process that lives on, as in Nova and Cinder: a request a line on standard input, an answer a line on standard
output, both JSON. The first line tells the version.

Its argument is the folder that os-brick and all that it needs is installed in, so that two releases can be had side by side.
"""

import json
import os
import sys
import threading

PACKAGES = sys.argv[1]
sys.path.insert(0, PACKAGES)

# Only answers go to the real standard output; whatever a library prints goes to the log.
ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

from importlib import metadata  # noqa: E402

import os_brick  # noqa: E402
from os_brick import privileged  # noqa: E402
from os_brick.initiator import connector  # noqa: E402
from oslo_concurrency import lockutils  # noqa: E402
from oslo_config import cfg  # noqa: E402

# os-brick's own default in every release.
SCAN_ATTEMPTS = 3
LOCKS = "/run/os-brick-locks"


def set_up():
    """What a service does once at its start."""
    os.makedirs(LOCKS, exist_ok=True)
    conf = cfg.CONF
    conf([], project="experiment")
    lockutils.set_defaults(LOCKS)
    if hasattr(os_brick, "setup"):
        os_brick.setup(conf)
    if hasattr(conf, "os_brick"):
        conf.set_override("lock_path", LOCKS, group="os_brick")
    # Its fastest mode: privileged functions are called in this very process, which is root.
    privileged.default.set_client_mode(False)
    hidden = getattr(privileged, "brick_privsep_hide_output", None)
    if hidden is not None:
        hidden.set_client_mode(False)


def connector_for(multipath):
    return connector.InitiatorConnector.factory(
        "ISCSI", "sudo", use_multipath=multipath, device_scan_attempts=SCAN_ATTEMPTS
    )


def attach(request):
    properties = request["connection"]
    info = connector_for(request["multipath"]).connect_volume(dict(properties))
    HANDED_OUT[properties["volume_id"]] = info
    return {"device": info["path"]}


def detach(request):
    properties = request["connection"]
    info = HANDED_OUT.pop(properties["volume_id"], None)
    options = {}
    if request["force"] and hasattr(os_brick, "setup"):
        # As Cinder does when it has created a volume. Releases before the rewrite know nothing of force.
        options = {"force": True}
    try:
        connector_for(request["multipath"]).disconnect_volume(dict(properties), info, **options)
    except Exception:
        HANDED_OUT[properties["volume_id"]] = info
        raise
    return {}


HANDED_OUT = {}
SPEAKING = threading.Lock()
VERBS = {"attach": attach, "detach": detach}


def main():
    set_up()
    # What a first call would otherwise import.
    for multipath in (True, False):
        connector_for(multipath)
    print(json.dumps({"version": metadata.version("os-brick")}), file=ANSWERS, flush=True)
    for line in sys.stdin:
        threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()


def answer(request):
    try:
        said = VERBS[request["verb"]](request)
    except Exception as error:  # whatever it is, it is the answer
        said = {"error": f"{type(error).__name__}: {error}"}
    said["id"] = request["id"]
    with SPEAKING:
        print(json.dumps(said), file=ANSWERS, flush=True)


main()
