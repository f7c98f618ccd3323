"""Rules on the collector's metrics → decision → outbox → notifiers."""
