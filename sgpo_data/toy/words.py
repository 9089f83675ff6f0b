"""The vocabulary: eight kinds of things, the separators of a list, how an answer opens and closes."""

from collections.abc import Mapping

_LISTS = """
animals: badger camel dolphin eagle falcon gorilla heron jackal koala lizard monkey otter panda rabbit squirrel tiger walrus zebra
fruits: apple banana cherry date fig grape guava kiwi lemon mango nectarine papaya peach pear plum quince raspberry tangerine
colours: amber beige black blue brown crimson green grey indigo ivory maroon pink purple red scarlet turquoise white yellow
tools: anvil axe brush chisel clamp drill file hammer knife ladder mallet pliers rake saw shovel tongs vice wrench
trades: baker barber butcher carpenter dentist farmer gardener jeweller lawyer mason nurse painter potter sailor tailor teacher waiter weaver
instruments: accordion bassoon cello clarinet drum fiddle flute guitar harp lute mandolin oboe organ piano sitar trumpet viola zither
clothes: apron belt boots cap cardigan dress gloves hat jacket jeans mittens pyjamas sandals scarf shirt socks tie vest
furniture: armchair bench bookcase cabinet carpet chair cradle cupboard curtain desk drawer lamp mirror rug shelf sofa stool wardrobe
"""
KINDS: Mapping[str, tuple[str, ...]] = {kind: tuple(words.split()) for kind, words in (line.split(": ") for line in _LISTS.strip().splitlines())}
KIND_OF: Mapping[str, str] = {word: kind for kind, words in KINDS.items() for word in words}

SEPARATORS: Mapping[str, str] = {"commas": ", ", "semicolons": "; ", "slashes": " / ", "dashes": " - "}

OPENINGS = ("Here you are", "My list", "Of course", "Sure thing", "As you wish", "Some ideas")
CLOSINGS = ("Good luck", "That is all", "Enjoy it", "Many thanks", "Hope it helps", "See you soon")

COUNTS = range(3, 7)
"""How many items a request may ask for; with opening and closing an answer has 10 to 17 words."""
