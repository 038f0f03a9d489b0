"""TODO-recipes"""
