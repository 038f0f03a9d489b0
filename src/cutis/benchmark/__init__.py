"""TODO-benchmark"""
