"""What the builder has to know of each reference model: calibration samples, the task's metric, golden
inputs.
"""
