"""How the pages write dates and times: one form for all of them."""
