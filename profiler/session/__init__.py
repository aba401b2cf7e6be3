"""Plans and runs measurements on a device and turns raw blocks into results.

options   what a user asks for            scripts   what one block does, step by step
link      an open device, its context     chains    synthetic graphs: gap and profiler's cost
prepare   a model on the device           blocks    raw records reduced to arrays
runner    runs and stores blocks          analysis  blocks → result
measure   models and kernels              isolated  kernels alone
compare   two models, in pairs            saved     two result files
"""
