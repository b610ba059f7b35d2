"""The writes of the saga, one file per step; imported by activities only (import-linter holds this)."""
