"""The channels: one small file each, all behind `base.Notifier`."""
