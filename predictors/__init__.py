"""Cost models: lookup tables and regressors."""
