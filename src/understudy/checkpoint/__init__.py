"""What a checkpoint means: architectures, the reference network, conversion, packing for the
core.
"""
