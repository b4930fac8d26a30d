"""Drop-in stand-ins for other packages' modules, over our tables."""
