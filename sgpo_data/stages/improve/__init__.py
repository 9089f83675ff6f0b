"""The improve stage and the templates it renders."""
