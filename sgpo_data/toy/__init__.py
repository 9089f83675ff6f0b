"""A small world in which a program grades the answers: lists on request, and a model that writes them half-well."""
