"""All that is stored, out and in again: `taximeter backup`, `restore`, `export` and `import`.

A backup is the data files themselves, taken while the collector runs; an export is Parquet, for
other programs and for other stores. Both are a directory with a `manifest.json`, written last.
"""
