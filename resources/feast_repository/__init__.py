"""Any Feast repository, read and worked from outside: described, planned, applied, loaded.

`description` imports nothing but the standard library; `describe` and `apply` run as processes of their own, since they import
the repository's modules; `store` asks the repository's own Feast store.
"""
