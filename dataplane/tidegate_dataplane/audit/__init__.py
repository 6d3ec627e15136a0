"""The audit log: one JSON line for each decision, each chained to the line before it.

The request path only appends to a queue. A thread of its own encodes, chains, writes and flushes. The format is
described in docs/reference/audit.md.
"""

from tidegate_dataplane.audit.log import AuditGate as AuditGate
from tidegate_dataplane.audit.log import AuditLog as AuditLog
from tidegate_dataplane.audit.opening import open_log as open_log
from tidegate_dataplane.audit.record import AuditRecord as AuditRecord
from tidegate_dataplane.audit.record import AuditTarget as AuditTarget
from tidegate_dataplane.audit.record import AuditTokens as AuditTokens
