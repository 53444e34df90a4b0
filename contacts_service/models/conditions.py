"""What the two databases' search conditions share."""

from peewee import Node, NodeList

SHORTEST_TRIGRAM = 3


def all_of(conditions: list[Node]) -> Node:
    """Join conditions by AND. Chained by & they would nest, and Peewee's recursion would end at a few hundred."""
    return NodeList(conditions, glue=" AND ", parens=True)
