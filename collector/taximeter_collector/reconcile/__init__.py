"""Provider exports against the stored calls: files → rows → cells → the gap, split by cause.

`files` reads (with `anthropic`, `openai`), `stored` asks the collector, `cells` puts both sides
side by side, `boundary` and `gap` find the causes, `report` writes. How and why: docs/reconcile.md.
"""
