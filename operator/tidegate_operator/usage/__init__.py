"""What was used and what it cost, added up from audit logs (docs/reference/audit.md)."""
