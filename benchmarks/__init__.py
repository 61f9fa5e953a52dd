"""Speed, measured as ratios in one run: the machine's own pace cancels out."""
