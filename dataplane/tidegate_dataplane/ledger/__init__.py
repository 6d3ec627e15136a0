"""Counting: rate limits and quotas, reserved before a call and settled after it."""

from tidegate_dataplane.ledger.demand import Demand, Excess, Standing, Standings
from tidegate_dataplane.ledger.memory import MemoryLedger, Reservation

__all__ = ["Demand", "Excess", "MemoryLedger", "Reservation", "Standing", "Standings"]
