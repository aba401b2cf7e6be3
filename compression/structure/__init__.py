"""Changes of structure: equal ones (folding, merging) and substitutions that need training."""
