"""A release on its way into service: install, gate, activation, confirmation by live traffic, rollback."""
