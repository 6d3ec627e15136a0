"""An audit log as the settings want it."""

import os

from tidegate_dataplane.audit.key import read_key
from tidegate_dataplane.audit.log import AuditLog
from tidegate_dataplane.audit.sink import make_sink
from tidegate_dataplane.audit.writer import AuditWriter
from tidegate_dataplane.settings import AuditOptions


def open_log(where: str, options: AuditOptions, *, gateway: str) -> AuditLog:
    """To a path, or to standard output for `-`. Raises OSError, and AuditKeyError (a ValueError) for a bad key."""
    key = None if options.key_file is None else read_key(options.key_file)
    sink = make_sink(where, max_bytes=options.max_bytes, max_files=options.max_files, fsync=options.fsync)
    writer = AuditWriter(sink, gateway=gateway, host=options.host, process=os.getpid(), key=key)
    return AuditLog(writer, when_full=options.when_full)
