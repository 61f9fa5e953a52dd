"""Collecting clean pictures: which are kept, how they are kept, and the training at the end."""
