"""Rate limits of writes per user and of reads per address, counted in MongoDB, so that replicas share them."""
