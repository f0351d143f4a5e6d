"""A plain Feast repository: `feast apply`, `feast ui` and `feast serve` work inside it.

`services.py` names every view, and Feast reads the rest through it (see .feastignore).
"""
