"""Software-defined assets, one file per stage of the picture."""
