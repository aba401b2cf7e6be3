"""Plans and runs measurements on a device and turns raw blocks into results."""
