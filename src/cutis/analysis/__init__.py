"""TODO-analysis"""
