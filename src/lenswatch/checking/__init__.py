"""Checks of clean pictures before a reference is made of them."""
