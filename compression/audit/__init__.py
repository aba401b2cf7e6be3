"""Which lightweight technique pays on a device: every transform, priced and measured."""
