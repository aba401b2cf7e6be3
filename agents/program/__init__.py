"""The program that runs on the device: standard library, numpy and the runtime only (Python 3.8)."""
