"""The program that runs on a device, and the targets that carry it there."""
