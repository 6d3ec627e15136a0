"""Soft thresholds of quotas: each is told once a window, over all data planes."""

from tidegate_dataplane.alerts.alert import Alert
from tidegate_dataplane.alerts.alerts import Alerts
from tidegate_dataplane.alerts.claims import Claims, ClaimUnavailable, ProcessClaims, StoreClaims
from tidegate_dataplane.alerts.delivery import Deliveries
from tidegate_dataplane.alerts.rule import NEVER, AlertRule, alert_rule, aligned_window
from tidegate_dataplane.alerts.webhook import Webhook

__all__ = [
    "NEVER",
    "Alert",
    "AlertRule",
    "Alerts",
    "ClaimUnavailable",
    "Claims",
    "Deliveries",
    "ProcessClaims",
    "StoreClaims",
    "Webhook",
    "alert_rule",
    "aligned_window",
]
