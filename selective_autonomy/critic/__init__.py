"""How likely would the operator accept this proposal? Learned from accept / correct feedback."""
