"""TODO-losses"""
