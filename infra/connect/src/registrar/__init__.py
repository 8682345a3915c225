"""Creates Tandem's topics and connectors, watches them and repairs them."""
