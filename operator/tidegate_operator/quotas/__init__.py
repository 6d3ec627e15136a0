"""What people see of quotas: what is used, how far a counter can overrun, and Events. From what data planes tell."""
