"""How good a model is: its answers to public sets, what a judge or people say of them, and the numbers of that."""
