"""All that is particular to a store, behind registries: `sources`, `targets`, `registry`."""
