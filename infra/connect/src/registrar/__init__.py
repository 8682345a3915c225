"""Creates Tandem's topics and connectors, monitors them and repairs them."""
