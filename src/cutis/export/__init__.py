"""TODO-export"""
