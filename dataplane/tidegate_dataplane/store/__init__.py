"""The shared store of counters: what data planes tell it and ask of it, and Redis or Valkey behind it."""
