"""Downloads the components into a cache that all stacks share."""
