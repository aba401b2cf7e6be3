"""Live connections to devices: one contract, one file per kind."""
