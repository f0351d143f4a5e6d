"""Feature views, one a module."""
