"""Servers of others with the same work behind them; each module runs in its peer's own environment."""
