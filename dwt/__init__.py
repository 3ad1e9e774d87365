"""Distillation from Weak Teacher: should an old, small language model teach a new, larger one?"""
