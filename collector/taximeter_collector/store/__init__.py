"""The files on disk: opened, lent, recovered, migrated, repaired, whatever is in them."""
