"""TODO-evaluation"""
