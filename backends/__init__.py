"""What knows frameworks: a package for each, and the registry, which imports none."""
