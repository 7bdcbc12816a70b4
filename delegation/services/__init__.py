"""Every change to delegations: offers, answers, placing, bubbling, the sweep and the audit."""
