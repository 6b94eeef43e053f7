"""Domain knowledge: structures without labels, and what empirical potentials say of them."""
